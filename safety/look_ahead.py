"""The pace along the playing chunk at which the arm can still stop on its path before the first row that leads out.

Distances and speeds of the whole arm are measured by what braking costs: ``|x| = max_j |x_j| / qdd_max_j``. Braking on the path
takes beta off |qd| each second (beta: the share of their limits that the joints may use for it), so from the speed w of the next
tick on it takes ``w dt + w^2 / (2 beta)``. With D the length of the path to where a gap closes (linear between rows),

    w = sqrt((beta dt)^2 + 2 beta D) - beta dt,    pace = w / |u_ref|.

At its full speed W the arm stops within the path time ``W / (2 beta)`` at the chunk's own speed, so rows up to there are looked
at: all of a chunk, as it plays. A gap closes where h falls below zero, or below what it is now.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.schema import SafetySettings
from robot_stack.interfaces import Situation
from robot_stack.robot import RobotSpec
from robot_stack.types import Array
from safety.limits import span

MOST = 8
"""States looked at in one tick; of a chunk whose rows are closer together it is every other one, and so on."""

DEEPER = 1e-6
"""m by which a gap must shrink to count as closing."""


class Room(NamedTuple):
    """How far (s^2) it is to where the gap `row` closes, and how far it closes there (m). -1: none closes."""

    length: float = float("inf")
    row: int = -1
    depth: float = 0.0


class LookAhead:
    """The look-ahead of one robot. `arm`: indices (A,) of the joints that move the tool."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings, arm: NDArray[np.intp]) -> None:
        self._arm, self._dt, self._beta = span(arm), spec.dt_ns * 1e-9, max(settings.look_ahead_share, 1e-3)
        self._qdd = spec.qdd_max[arm]
        self._horizon_ns = round(float((spec.qd_max[arm] / self._qdd).max()) / (2.0 * self._beta) * 1e9)
        self._q_min, self._q_max = spec.q_min, spec.q_max

    def path(self, situation: Situation, q: Array, now_ns: int) -> Array | None:
        """The way ahead (S, J): the commanded `q` (J,), then rows of the playing chunk still to come. None: there are none."""
        chunk = situation.playing
        if chunk is None or chunk.q.shape[1] != q.size:
            return None
        first = max((now_ns - situation.behind_ns - chunk.t0_ns) // chunk.dt_ns + 1, 0)
        count = min(len(chunk.q) - first, -(-self._horizon_ns // chunk.dt_ns) + 1)
        if count <= 0:
            return None
        rows = chunk.q[first : first + count : -(-count // MOST)]
        return np.concatenate((q[None], np.minimum(np.maximum(rows, self._q_min), self._q_max)))

    def room(self, path: Array, h: Array) -> Room:
        """What is left of `path` (S, J) for gaps `h` (R, S) at its states. What is not a number counts as closed."""
        floor = np.minimum(h[:, :1], 0.0) - DEEPER
        closed = ~(h[:, 1:] >= floor)
        if not np.count_nonzero(closed):
            return Room()
        k = int(closed.any(axis=0).argmax())
        rows = np.flatnonzero(closed[:, k])
        before, after = h[rows, k] - floor[rows, 0], h[rows, k + 1] - floor[rows, 0]
        share = np.where(after < before, before / np.maximum(before - after, 1e-12), 0.0)
        steps = (np.abs(np.diff(path[: k + 2, self._arm], axis=0)) / self._qdd).max(axis=1)
        length = float(steps[:k].sum()) + (float(share.min() * steps[k]) if np.isfinite(steps[k]) else 0.0)
        worst = int(after.argmin())
        return Room(length, int(rows[worst]), float(-after[worst]) if after[worst] < 0.0 else 0.0)

    def pace(self, room: Room, u_ref: Array) -> float:
        """The share (0..1) of the wished velocity `u_ref` (J,) that leaves `room` to stop in."""
        if room.row < 0:
            return 1.0
        speed, braking = float((np.abs(u_ref[self._arm]) / self._qdd).max()), self._beta * self._dt
        allowed = float(np.sqrt(braking * braking + 2.0 * self._beta * room.length)) - braking
        return allowed / speed if allowed < speed else 1.0
