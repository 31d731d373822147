"""Everything the filter must keep at one arm position, as rows ``A qd >= b``, with the margins a verdict reports.

The rows are taken at the commanded position: that is where the arm is being sent, and it carries no sensor noise. How far the
measured arm may lag is bounded by `tracking_limit`, beyond which the filter holds. The same gaps, at the states of the chunk
still to come, give the room of `safety.look_ahead`.

Gaps to walls, spheres and between links are geometry, and hard. A learned barrier row is right only with the probability it was
calibrated for, and therefore soft: where both can't be kept it is the barrier that gives way, and the verdict says by how much.
Rows no joint can act on (a link on the base axis) are left out: they would only make the rest infeasible.
"""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.schema import SafetySettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, Hazards, Reason, Violation
from safety.barrier import Barrier
from safety.keep_out import Links, Workspace, coming_one
from safety.limits import Box
from safety.look_ahead import LookAhead, Room

NO_GRIP = 1e-3
"""A row whose largest coefficient is below this (m/s per rad/s) can't be acted on."""

NOTHING = Hazards(0, np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))
"""No hazard."""


class Rows(NamedTuple):
    """``A qd >= b``: `A` (R, J), `b` (R,) m/s or barrier units/s, which of them are `soft` (R,), and `what` each is: reason and
    link or point."""

    A: Array
    b: Array
    soft: NDArray[np.bool_]
    what: tuple[tuple[Reason, int], ...]


class Scene(NamedTuple):
    """Rows that could be broken, the smallest keep-out h (m) and the least learned barrier above its level (inf: none), the room
    there is along the chunk, and the gap it closes."""

    rows: Rows
    margin: float
    barrier: float
    room: Room
    leads: tuple[Violation, ...]


class Constraints:
    """Walls, spheres, self-collision and learned barriers of a robot. `arm`: the joints that move the tool; the others grip."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        self._kinematics = Kinematics(spec)
        self._workspace = Workspace(spec, self._kinematics, settings)
        self._links = Links(spec, self._kinematics, settings)
        self._settings = settings
        self.arm = np.flatnonzero(self._kinematics.moves[-1])
        self.look_ahead = LookAhead(spec, settings, self.arm)
        self._barriers = [self._load(path, spec) for path in settings.barrier.split(os.pathsep) if path]

    def _load(self, path: str, spec: RobotSpec) -> Barrier:
        barrier = Barrier.load(path)
        if barrier.dim != self.arm.size + 3:
            raise ConfigError(
                f"safety.barrier: {path}: found {barrier.dim} inputs, allowed {self.arm.size + 3}"
                f" (the {self.arm.size} joints that move the tool of {spec.name}, and a hazard's x, y, z)"
            )
        return barrier

    def at(self, q: Array, path: Array | None, hazards: Hazards | None, now_ns: int, box: Box) -> Scene:
        """The scene at `q` (J,), keeping only rows that some velocity in `box` would break, and the room along `path` (S, J)."""
        hazards = NOTHING if hazards is None else hazards
        X = self._kinematics.poses(q[None] if path is None else path)
        p_W = self._kinematics.places(X)
        walls = self._workspace.gaps(p_W)
        links, margin, nearest = self._links.gaps(p_W, hazards, (now_ns - hazards.t_ns) * 1e-9)
        A = np.concatenate((walls.wrench, links.wrench)) @ self._kinematics.screws(X)
        A *= np.concatenate((walls.moves, links.moves))
        b, num_hard, value = np.concatenate((walls.b, links.b)), len(A), float("inf")
        if nearest >= 0 and self._barriers:
            soft, rates, value = self._learned(q, hazards, nearest)
            A, b = np.concatenate((A, soft)), np.concatenate((b, rates))
        rows = self._tight(A, b, num_hard, hazards.radius.size, box)
        room = Room() if path is None else self.look_ahead.room(path, np.concatenate((walls.h, links.h)))
        leads = () if room.row < 0 else (Violation(Reason.AHEAD, room.depth, self._what(room.row, hazards.radius.size)[1]),)
        return Scene(rows, margin, value, room, leads)

    def _learned(self, q: Array, hazards: Hazards, nearest: int) -> tuple[Array, Array, float]:
        """``grad_q B qd >= -gain (B - level) + coming(B - level, |grad_p B| speed_max)`` of each barrier, and the least value."""
        x, speed = np.concatenate([q[self.arm], hazards.p_W[nearest]]), float(hazards.speed_max[nearest])
        A, values, b = np.zeros((len(self._barriers), q.size)), [], np.empty(len(self._barriers))
        for i, barrier in enumerate(self._barriers):
            value, gradient = barrier.value_and_gradient(x)
            value -= barrier.level + self._settings.barrier_level
            A[i, self.arm] = gradient[:-3]
            closing = speed * float(gradient[-3:] @ gradient[-3:]) ** 0.5
            b[i] = coming_one(value, closing, self._settings.hazard_horizon_s) - self._settings.barrier_gain * value
            values.append(value)
        return A, b, min(values)

    def _tight(self, A: Array, b: Array, num_hard: int, num_hazards: int, box: Box) -> Rows:
        steep = np.abs(A)
        worst = A @ (0.5 * (box.lower + box.upper)) - steep @ (0.5 * (box.upper - box.lower))
        kept = (~(worst >= b)).nonzero()[0]
        if kept.size:
            kept = kept[~(steep[kept][:, self.arm].max(axis=1) < NO_GRIP)]
        what = tuple((Reason.BARRIER, -1) if i >= num_hard else self._what(i, num_hazards) for i in kept.tolist())
        return Rows(A[kept], b[kept], kept >= num_hard, what)

    def _what(self, row: int, num_hazards: int) -> tuple[Reason, int]:
        own = len(self._workspace.what)
        return self._workspace.what[row] if row < own else self._links.what(row - own, num_hazards)
