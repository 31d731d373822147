"""Gaps that must stay open: between links and perceived spheres, between links of one arm, between link ends and walls.

A link is a capsule, a sphere one without length. With the nearest points c1, c2 of two axes and ``n = (c1 - c2) / |c1 - c2|``,

    h = |c1 - c2| - r1 - r2 - margin                                                                  link 1 to link 2,
    h = |c1 - c2| - r1 - r2 - margin - sigma_factor sigma - speed_max min(age, T)                     link 1 to a sphere,

with T = `hazard_horizon_s` (a picture older than the mode machine tolerates ends in FALLBACK anyway). With
``h_dot >= n^T (J_c1 - J_c2) qd - speed_max`` the row is a robust control-barrier condition (Ames et al., 2019) that discounts
what is far:

    n^T (J_c1 - J_c2) qd >= -gain h + coming(h, speed_max),    coming(h, v) = v clip(1 - h / (v T), 0, 1).

At h = 0 the link must retreat as fast as the sphere may come, so h >= 0 is kept; from h = speed_max T on, a sphere that could
not be here within T costs nothing, so a far or slow one does not freeze the task. A workspace plane (n, d) gives
``n^T J_p qd >= -gain (n p - d)`` for every link end p.

Nearest points of two segments ``p1 + s d1`` and ``p2 + t d2``, s and t in 0..1 (Ericson, Real-Time Collision Detection, 5.1.9):
the unconstrained s, the t that fits it, the s that fits that t. As c1 and c2 lie on the common normal, ``c1 x n = c2 x n`` and
``n^T (J_c1 - J_c2)`` is (n, c1 x n) times the difference of the links' screws (`robot_stack.kinematics`). So a gap is its h at
every state asked for and, at the first one, its `wrench` (n, c1 x n) and which joints move it. Points: (P, S, 3), P at S states.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.schema import SafetySettings
from robot_stack.kinematics import Kinematics, cross
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, Hazards, Reason

Index = NDArray[np.int64]

TINY = 1e-12
"""The least length (m^2) or determinant that is divided by."""

FEW = 5
"""Tables for fewer spheres than this are made once; for more, at every tick."""


class Gaps(NamedTuple):
    """R constraints h >= 0: `h` (R, S) m at S states and, at the first, `wrench` (R, 6), `moves` (R, J) and the least rate
    `b` (R,) m/s its row asks for: ``(wrench @ screws * moves) qd >= b``."""

    h: Array
    wrench: Array
    moves: Array
    b: Array


def coming(h: Array, speed: Array, horizon_s: float) -> Array:
    """How fast to retreat at `h` from what comes at up to `speed` >= 0: all of it at h <= 0, nothing from speed * horizon on."""
    reach = np.maximum(speed * horizon_s, 1e-9)
    return np.asarray(speed * np.minimum(np.maximum(1.0 - h / reach, 0.0), 1.0))


def coming_one(h: float, speed: float, horizon_s: float) -> float:
    """`coming` for one h: plain floats, to the same bits."""
    return speed * min(max(1.0 - h / max(speed * horizon_s, 1e-9), 0.0), 1.0)


def _dot(a: Array, b: Array) -> Array:
    """Inner products (...,) of vectors (..., 3)."""
    return np.asarray((a[..., None, :] @ b[..., :, None])[..., 0, 0])


def _share(x: Array) -> Array:
    """`x` (any shape) within 0..1; at this size faster than `clip`."""
    return np.minimum(np.maximum(x, 0.0), 1.0)


def _towards(gap: Array, distance: Array) -> Array:
    """Unit vectors along `gap` (..., 3) of length `distance` (...); up, where there is no length."""
    if np.count_nonzero(distance < 1e-9):
        gap = np.where(distance[..., None] < 1e-9, (0.0, 0.0, 1e-9), gap)
    return np.asarray(gap / np.maximum(distance, 1e-9)[..., None])


def pairs(spec: RobotSpec) -> list[tuple[int, int]]:
    """The pairs of capsules (i, k), i < k, to be kept apart: all but neighbours (no other link with a shape between them: they
    touch in the joint) and those that `may_touch`."""
    allowed = {frozenset(pair) for pair in spec.may_touch}
    shaped = {capsule.joint for capsule in spec.capsules}
    found = []
    for (i, one), (k, two) in combinations(enumerate(spec.capsules), 2):
        near = one.joint in (two.joint, _carrier(spec, two.joint, shaped)) or _carrier(spec, one.joint, shaped) == two.joint
        if not near and frozenset((one.name, two.name)) not in allowed:
            found.append((i, k))
    return found


def _carrier(spec: RobotSpec, joint: int, shaped: set[int]) -> int:
    """The next joint from `joint` towards the world that carries a capsule (-1: none)."""
    joint = spec.joints[joint].parent
    while joint >= 0 and joint not in shaped:
        joint = spec.joints[joint].parent
    return joint


class _Table(NamedTuple):
    """Which two axes each row compares: `ends` (4, R) among the points, `length2` (2, R, 1) m^2, `moves` (R, J)."""

    ends: Index
    length2: Array
    moves: Array


class Links:
    """Gaps of one robot's links to each other, pair by pair, then to K spheres, capsule by capsule, sphere by sphere."""

    def __init__(self, spec: RobotSpec, kinematics: Kinematics, settings: SafetySettings) -> None:
        self._settings, self._kinematics = settings, kinematics
        self._pairs, self._num_links = pairs(spec), len(spec.capsules)
        self._length2 = np.array([max(float(np.sum(np.subtract(c.b, c.a) ** 2)), TINY) for c in spec.capsules] + [TINY])
        radius = kinematics.radius
        self._reach = np.array([radius[i] + radius[k] + settings.self_collision_margin for i, k in self._pairs])
        self._gain = settings.self_collision_gain
        self._tables = {k: self._table(k) for k in range(FEW)}

    def _table(self, num_spheres: int) -> _Table:
        links, points = range(self._num_links), len(self._kinematics.point_joint)
        moves = np.concatenate([self._kinematics.moves[0 : 2 * self._num_links : 2], np.zeros((1, self._kinematics.num_joints))])
        first = np.array([i for i, _ in self._pairs] + [i for i in links for _ in range(num_spheres)], dtype=np.int64)
        second = np.array([k for _, k in self._pairs], dtype=np.int64)
        sphere = np.array([points + k for _ in links for k in range(num_spheres)], dtype=np.int64)
        others = np.concatenate([second, np.full(sphere.size, self._num_links)])
        ends = (2 * first, 2 * first + 1, np.concatenate([2 * second, sphere]), np.concatenate([2 * second + 1, sphere]))
        length2 = np.stack([self._length2[first], self._length2[others]])[:, :, None]
        return _Table(np.stack(ends), length2, moves[first] - moves[others])

    def what(self, row: int, num_spheres: int) -> tuple[Reason, int]:
        """What a row is about: two links (which: the outer one), or a sphere and a link."""
        if row < len(self._pairs):
            return Reason.SELF_COLLISION, self._pairs[row][1]
        return Reason.KEEP_OUT, (row - len(self._pairs)) // num_spheres

    def gaps(self, p_W: Array, hazards: Hazards, age_s: float) -> tuple[Gaps, float, int]:
        """All gaps, the smallest to a sphere (m; inf: none) and whose it is (-1)."""
        num, own = hazards.radius.size, len(self._pairs)
        if num:
            centre = np.empty((num, *p_W.shape[1:]))
            centre[:] = hazards.p_W[:, None]
            p_W = np.concatenate((p_W, centre))
        table = self._tables.get(num) or self._table(num)
        gap, point = _nearest(p_W[table.ends], table.length2)
        distance = np.sqrt(_dot(gap, gap))
        reach, speed = self._inflated(hazards, age_s)
        h = distance - reach[:, None]
        now = h[:, 0]
        b = -self._settings.keep_out_gain * now + coming(now, speed, self._settings.hazard_horizon_s)
        b[:own] = -self._gain * now[:own]
        normal = _towards(gap[:, 0], distance[:, 0])
        least = own + int(now[own:].argmin()) if num and self._num_links else -1
        margin, nearest = (float(now[least]), (least - own) % num) if least >= 0 else (float("inf"), -1)
        return Gaps(h, np.concatenate((normal, cross(point, normal)), axis=1), table.moves, b), margin, nearest

    def _inflated(self, hazards: Hazards, age_s: float) -> tuple[Array, Array]:
        """How near the axes of each row may come (R,) m, and how fast the second comes by itself (R,) m/s."""
        settings, own, num = self._settings, len(self._pairs), hazards.radius.size
        late_s = min(max(age_s, 0.0), settings.hazard_horizon_s)
        grown = hazards.radius + (settings.keep_out_margin + settings.sigma_factor * hazards.sigma + hazards.speed_max * late_s)
        reach, speed = np.empty(own + self._num_links * num), np.zeros(own + self._num_links * num)
        reach[:own] = self._reach
        reach[own:].reshape(-1, max(num, 1))[:] = self._kinematics.radius[:, None] + grown if num else 0.0
        speed[own:].reshape(-1, max(num, 1))[:] = hazards.speed_max if num else 0.0
        return reach, speed


def _nearest(ends: Array, length2: Array) -> tuple[Array, Array]:
    """From the axes `ends` (4, R, S, 3): c1 - c2 (R, S, 3), and c1 at the first state (R, 3)."""
    p1, _, p2, _ = ends
    d, r = ends[1::2] - ends[::2], p1 - p2
    (d1, d2), (a, e) = d, length2
    b, (c, f) = _dot(d1, d2), _dot(d, r)
    s = _share((b * f - c * e) / np.maximum(a * e - b * b, TINY))
    t = _share((b * s + f) / e)
    s = _share((b * t - c) / a)
    along = s[..., None] * d1
    return r + along - t[..., None] * d2, p1[:, 0] + along[:, 0]


class Workspace:
    """Gaps of one robot's link ends and tool tip to the walls of its cell, point by point, plane by plane."""

    def __init__(self, spec: RobotSpec, kinematics: Kinematics, settings: SafetySettings) -> None:
        planes = np.array(spec.workspace, dtype=float).reshape(-1, 4)
        self._normal, self._offset = planes[:, :3], planes[:, 3:]
        self._gain, self._num_points = settings.workspace_gain, len(kinematics.point_joint)
        self._turning = np.concatenate([cross(np.eye(3), n) for n in self._normal], axis=1) if len(planes) else np.zeros((3, 0))
        self._normals = np.tile(self._normal, (self._num_points, 1))
        self._moves = np.repeat(kinematics.moves, len(planes), axis=0)
        self.what = tuple((Reason.WORKSPACE, i) for i in range(self._num_points) for _ in planes)

    def gaps(self, p_W: Array) -> Gaps:
        """The gaps of all points to all planes: row p M + m for M planes."""
        h = (self._normal @ np.swapaxes(p_W, 1, 2) - self._offset).reshape(len(self.what), p_W.shape[1])
        wrench = np.concatenate([self._normals, (p_W[:, 0] @ self._turning).reshape(-1, 3)], axis=1)
        return Gaps(h, wrench, self._moves, -self._gain * h[:, 0])
