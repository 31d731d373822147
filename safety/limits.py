"""Joint limits as a box on the next velocity that can always be kept, now and in every tick to come.

A command moves joint j by ``q' = q + u dt``. Braking at the most a joint can, the speeds after u are ``u - h, u - 2 h, ...``
with ``h = qdd_max dt``, so with ``n = floor(u / h)`` it ends ``dt ((n + 1) u - h n (n + 1) / 2)`` further on, this tick included.
The largest u that still stops within a gap d is therefore exactly

    u_max(d) = (d / dt + h n (n + 1) / 2) / (n + 1),    n = floor((sqrt(1 + 8 d / (dt h)) - 1) / 2),

the discrete-time form of ``u <= sqrt(2 qdd_max d)``. A state reached under it can always brake by h without breaking it, so the
box [max(v - h, -qd_max, -u_max(q - q_min)), min(v + h, qd_max, u_max(q_max - q))] is never empty (tests/safety/test_limits.py).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_stack.robot import RobotSpec
from robot_stack.types import Array

INSIDE = 1e-9
"""Relative shrinking of every limit, so that rounding cannot reach the limit itself."""


class Box(NamedTuple):
    """Bounds (J,) on the next velocity: `lower`..`upper` all limits, `stop_lower`..`stop_upper` without acceleration."""

    lower: Array
    upper: Array
    stop_lower: Array
    stop_upper: Array


def span(joints: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """`joints`, indices in order, to take them out of an array with: a slice where none is left out, which copies nothing."""
    first, end = int(joints[0]), int(joints[-1]) + 1
    return slice(first, end) if end - first == joints.size else joints


class JointLimits:
    """Position, speed and acceleration limits of one robot at one control period."""

    def __init__(self, spec: RobotSpec) -> None:
        self.dt = spec.dt_ns * 1e-9
        self.q_min, self.q_max = spec.q_min, spec.q_max
        self.qd_max = spec.qd_max * (1.0 - INSIDE)
        self.change = spec.qdd_max * (self.dt * (1.0 - INSIDE))
        self._change_most = self.change * (1.0 + 1e-6)
        room = INSIDE * (spec.q_max - spec.q_min)
        self._inner_min, self._inner_max = spec.q_min + room, spec.q_max - room

    def stop_speed(self, gap: Array) -> Array:
        """The largest speed (..., J) of the next tick from which braking covers at most `gap` (..., J); 0 for no gap."""
        d = np.maximum(gap, 0.0) / self.dt
        n = np.floor((np.sqrt(1.0 + 8.0 * d / self.change) - 1.0) * 0.5)
        return np.asarray((d + self.change * (0.5 * n * (n + 1.0))) / (n + 1.0))

    def _gaps(self, q: Array) -> Array:
        """What is left to the lower and to the upper limit at `q` (J,): (2, J)."""
        gaps = np.empty((2, q.size))
        np.subtract(q, self._inner_min, out=gaps[0])
        np.subtract(self._inner_max, q, out=gaps[1])
        return gaps

    def box(self, q: Array, v: Array) -> Box:
        """Bounds on the next velocity at position `q` (J,) moving with `v` (J,): the last command, or from `settle`."""
        stop = self.stop_speed(self._gaps(q))
        stop_lower, stop_upper = np.maximum(-stop[0], -self.qd_max), np.minimum(stop[1], self.qd_max)
        lower = np.minimum(np.maximum(v - self.change, stop_lower), stop_upper)
        upper = np.minimum(np.maximum(v + self.change, stop_lower), stop_upper)
        return Box(lower, upper, stop_lower, stop_upper)

    def settle(self, q: Array, v: Array) -> tuple[Array, Array]:
        """The nearest state (q, v) from which no limit need be broken: where commands start from a measured one (J,), (J,)."""
        q = np.minimum(np.maximum(q, self.q_min), self.q_max)
        v = np.where(np.isfinite(v), v, 0.0)
        stop = self.stop_speed(self._gaps(q))
        return q, np.minimum(np.maximum(v, -np.minimum(stop[0], self.qd_max)), np.minimum(stop[1], self.qd_max))

    def keep(self, q: Array, u: Array, v: Array) -> bool:
        """The last look at a command: position `q` (J,) and velocity `u` reached from `v` finite and within every limit."""
        inside = (q >= self.q_min) & (q <= self.q_max) & (np.abs(u) <= self.qd_max) & (np.abs(u - v) <= self._change_most)
        return bool(np.count_nonzero(inside) == q.size)
