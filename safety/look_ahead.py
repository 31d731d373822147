"""The pace along the playing chunk at which the arm can still stop on its path before the first row that leads out.

Path time tau runs from now; the chunk's rows are due at tau_1, tau_2, ... at its own speed. Slowed to the pace s (d tau / dt),
joint j moves with ``s q'_j(tau)``, and braking along the path at the share beta of what the joints can costs path time

    s^2 / (2 a),    a = beta min_j qdd_max_j / max_tau |q'_j(tau)|,

so from the first tau_out at which a gap closes (linear between rows) the largest pace that stops in time is
``s = sqrt(2 a (tau_out - dt))``. At s = 1 nothing later than ``max_j qd_max_j / (2 beta qdd_max_j)`` can ask for anything yet,
so rows up to there are looked at: all of a chunk, as it plays. A gap closes where h falls below zero, or below what it is now.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.schema import SafetySettings
from robot_stack.interfaces import Situation
from robot_stack.robot import RobotSpec
from robot_stack.types import Array

MOST = 8
"""States looked at in one tick; of a chunk whose rows are closer together it is every other one, and so on."""

DEEPER = 1e-6
"""m by which a gap must shrink to count as closing."""


class Path(NamedTuple):
    """The way ahead: states `q` (S, J), the commanded one first, and when each is due, `tau` (S,) s of path time."""

    q: Array
    tau: Array


class Pace(NamedTuple):
    """How fast to go (1: as the chunk says), and the gap (row) that closes first, by how much (m). -1: none closes."""

    share: float = 1.0
    row: int = -1
    depth: float = 0.0


class LookAhead:
    """The look-ahead of one robot. `arm`: indices (A,) of the joints that move the tool."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings, arm: NDArray[np.intp]) -> None:
        self._arm, self._dt = arm, spec.dt_ns * 1e-9
        self._qdd = np.maximum(settings.look_ahead_share, 1e-3) * spec.qdd_max[arm]
        self._horizon_ns = round(float((0.5 * spec.qd_max[arm] / self._qdd).max()) * 1e9)
        self._q_min, self._q_max = spec.q_min, spec.q_max

    def path(self, situation: Situation, q: Array, now_ns: int) -> Path | None:
        """The way ahead from the commanded `q` (J,); None without rows of a playing chunk that are still to come."""
        chunk = situation.playing
        if chunk is None or chunk.q.shape[1] != q.size:
            return None
        done_ns = now_ns - situation.behind_ns - chunk.t0_ns
        first = max(done_ns // chunk.dt_ns + 1, 0)
        count = min(len(chunk.q) - first, -(-self._horizon_ns // chunk.dt_ns) + 1)
        if count <= 0:
            return None
        stride = -(-count // MOST)
        rows = np.minimum(np.maximum(chunk.q[first : first + count : stride], self._q_min), self._q_max)
        due = np.arange(first, first + count, stride) * chunk.dt_ns - done_ns
        return Path(np.concatenate([q[None], rows]), np.concatenate([[0.0], due * 1e-9]))

    def pace(self, path: Path, h: Array) -> Pace:
        """The pace for gaps `h` (R, S) at the states of `path`. What is not a number counts as closed."""
        floor = np.minimum(h[:, :1], 0.0) - DEEPER
        closed = ~(h[:, 1:] >= floor)
        if not np.count_nonzero(closed):
            return Pace()
        k = int(closed.any(axis=0).argmax())
        rows = np.flatnonzero(closed[:, k])
        before, after = h[rows, k] - floor[rows, 0], h[rows, k + 1] - floor[rows, 0]
        share = np.where(after < before, before / np.maximum(before - after, 1e-12), 0.0)
        tau = path.tau[: k + 2]
        out = tau[k] + float(share.min()) * (tau[k + 1] - tau[k])
        slope = np.abs(np.diff(path.q[: k + 2, self._arm], axis=0)) / np.diff(tau)[:, None]
        hardness = float(np.nan_to_num(slope / self._qdd, nan=np.inf).max())
        worst = int(after.argmin())
        pace = float(np.sqrt(2.0 * max(out - self._dt, 0.0) / max(hardness, 1e-9)))
        return Pace(min(pace, 1.0), int(rows[worst]), float(-after[worst]) if after[worst] < 0.0 else 0.0)
