"""Everything the filter must keep at one arm position, as rows ``A qd >= b``, with the margins a verdict reports.

The rows are taken at the commanded position: that is where the arm is being sent, and it carries no sensor noise. How far the
measured arm may lag is bounded by `tracking_limit`, beyond which the filter holds.
"""

from typing import NamedTuple

import numpy as np

from robot_stack.config.schema import SafetySettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, Hazards, Reason
from safety.barrier import Barrier
from safety.keep_out import NO_GRIP, Rows, Spheres, Workspace, no_rows


class Scene(NamedTuple):
    """Rows that could be broken, the smallest keep-out h (m) and the learned barrier above its level (inf: there is none)."""

    rows: Rows
    margin: float
    barrier: float


class Constraints:
    """Keep-out spheres, workspace and learned barrier of a robot. `arm`: the joints that move the tool; the others grip."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        self._kinematics = Kinematics(spec)
        self._spheres, self._workspace = Spheres(spec, settings), Workspace(spec, settings)
        self._settings = settings
        self.arm = np.flatnonzero(self._kinematics.moves[-1])
        self._num_joints = len(spec.joints)
        self._barrier = Barrier.load(settings.barrier) if settings.barrier else None
        if self._barrier is not None and self._barrier.dim != self.arm.size + 3:
            raise ConfigError(
                f"safety.barrier: {settings.barrier}: found {self._barrier.dim} inputs, allowed {self.arm.size + 3}"
                f" (the {self.arm.size} joints that move the tool of {spec.name}, and a hazard's x, y, z)"
            )

    def at(self, q: Array, hazards: Hazards | None, now_ns: int, lower: Array, upper: Array) -> Scene:
        """The scene at `q` (J,), keeping only rows that some velocity in `lower`..`upper` (J,) would break."""
        p_W, J = self._kinematics.points(q)
        rows = [self._workspace.rows(p_W, J)]
        margin, value = float("inf"), float("inf")
        if hazards is not None:
            keep_out = self._spheres.rows(p_W, J, hazards, (now_ns - hazards.t_ns) * 1e-9)
            rows.append(keep_out.rows)
            margin = keep_out.margin
            if self._barrier is not None and keep_out.nearest >= 0:
                learned, value = self._learned(self._barrier, q, hazards, keep_out.nearest)
                rows.append(learned)
        return Scene(self._tight(rows, lower, upper), margin, value)

    def _learned(self, barrier: Barrier, q: Array, hazards: Hazards, nearest: int) -> tuple[Rows, float]:
        """``grad_q B qd >= -gain (B - level)``, plus ``|grad_p B| speed_max`` for a hazard faster than `moving_speed`."""
        value, gradient = barrier.value_and_gradient(np.concatenate([q[self.arm], hazards.p_W[nearest]]))
        value -= barrier.level + self._settings.barrier_level
        speed = float(hazards.speed_max[nearest])
        coming = float(np.sqrt(gradient[-3:] @ gradient[-3:])) * speed if speed > self._settings.moving_speed else 0.0
        A = np.zeros((1, self._num_joints))
        A[0, self.arm] = gradient[:-3]
        return Rows(A, np.array([coming - self._settings.barrier_gain * value]), (Reason.BARRIER,), (-1,)), value

    def _tight(self, rows: list[Rows], lower: Array, upper: Array) -> Rows:
        A, b = np.concatenate([r.A for r in rows]), np.concatenate([r.b for r in rows])
        steep = np.abs(A)
        worst = A @ (0.5 * (lower + upper)) - steep @ (0.5 * (upper - lower))
        kept = np.flatnonzero(~(worst >= b) & ~(steep[:, self.arm].max(axis=1) < NO_GRIP))
        if kept.size == 0:
            return no_rows(self._num_joints)
        reason = [x for r in rows for x in r.reason]
        where = [x for r in rows for x in r.where]
        return Rows(A[kept], b[kept], tuple(reason[i] for i in kept), tuple(where[i] for i in kept))
