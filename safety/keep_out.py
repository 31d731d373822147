"""Rows on the joint velocity that keep every link out of the perceived spheres and inside the workspace.

A link is a capsule; c is the point of its segment nearest to the centre s of a sphere, ``n = (c - s) / |c - s|``, and

    h = |c - s| - r_link - r - margin - sigma_factor sigma - speed_max min(age, T)

with T = `hazard_horizon_s` (a picture older than the mode machine tolerates ends in FALLBACK anyway). With
``h_dot >= n^T J_c qd - speed_max`` the row is a robust control-barrier condition (Ames et al., 2019) that discounts far spheres:

    n^T J_c qd >= -gain h + speed_max clip(1 - h / (speed_max T), 0, 1).

At h = 0 the link must retreat as fast as the sphere may come, so h >= 0 is kept; from h = speed_max T on, a sphere that could
not be here within T costs nothing, so a far or slow one does not freeze the task. A workspace plane (n, d) gives
``n^T J_p qd >= -gain (n p - d)`` for every link end p. Rows no joint can act on (a link on the base axis) are left out: they
would only make the rest infeasible.
"""

from typing import NamedTuple

import numpy as np

from robot_stack.config.schema import SafetySettings
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, Hazards, Reason

NO_GRIP = 1e-3
"""A row whose largest coefficient is below this (m/s per rad/s) can't be acted on."""


class Rows(NamedTuple):
    """``A qd >= b``: `A` (R, J), `b` (R,) m/s, and what each row is: `reason` and `where` (link or point)."""

    A: Array
    b: Array
    reason: tuple[Reason, ...]
    where: tuple[int, ...]


class KeepOut(NamedTuple):
    """Rows of the spheres, the smallest h (m; inf: no sphere) and which hazard it belongs to (-1: none)."""

    rows: Rows
    margin: float
    nearest: int


def no_rows(num_joints: int) -> Rows:
    """Nothing to keep."""
    return Rows(np.zeros((0, num_joints)), np.zeros(0), (), ())


class Spheres:
    """Keep-out rows of perceived spheres for one robot."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        self._radius = np.array([c.radius for c in spec.capsules])
        self._num_joints = len(spec.joints)
        self._gain, self._margin = settings.keep_out_gain, settings.keep_out_margin
        self._sigma_factor, self._horizon = settings.sigma_factor, settings.hazard_horizon_s

    def rows(self, p_W: Array, J: Array, hazards: Hazards, age_s: float) -> KeepOut:
        """Rows at link ends `p_W` (P, 3) with Jacobians `J` (P, 3, num_joints), capsule by capsule, hazard by hazard."""
        num_links, num_hazards = self._radius.size, hazards.radius.size
        if num_links == 0 or num_hazards == 0:
            return KeepOut(no_rows(self._num_joints), float("inf"), -1)
        distance, normal, t = _nearest(p_W[0 : 2 * num_links : 2], p_W[1 : 2 * num_links : 2], hazards.p_W)
        speed = np.maximum(hazards.speed_max, 0.0)
        grown = hazards.radius + self._margin + self._sigma_factor * hazards.sigma + speed * min(max(age_s, 0.0), self._horizon)
        h = distance - self._radius[:, None] - grown
        coming = speed * np.minimum(np.maximum(1.0 - h / np.maximum(speed * self._horizon, 1e-9), 0.0), 1.0)
        start, end = normal @ J[0 : 2 * num_links : 2], normal @ J[1 : 2 * num_links : 2]
        A = (start + t[:, :, None] * (end - start)).reshape(-1, self._num_joints)
        least = int(h.argmin())
        index = tuple(i // num_hazards for i in range(h.size))
        rows = Rows(A, (coming - self._gain * h).ravel(), (Reason.KEEP_OUT,) * h.size, index)
        return KeepOut(rows, float(h.flat[least]), least % num_hazards)


def _nearest(a: Array, b: Array, centre: Array) -> tuple[Array, Array, Array]:
    """Segments `a`-`b` (C, 3) to points (K, 3): distance (C, K), unit normals towards the segment (C, K, 3), place t (C, K)."""
    along = b - a
    length = np.maximum((along * along).sum(axis=1), 1e-18)
    to = centre[None, :, :] - a[:, None, :]
    t = np.minimum(np.maximum((to @ along[:, :, None])[:, :, 0] / length[:, None], 0.0), 1.0)
    gap = t[:, :, None] * along[:, None, :] - to
    distance = np.sqrt((gap * gap).sum(axis=2))
    normal = gap / np.maximum(distance, 1e-9)[:, :, None]
    normal[distance < 1e-9] = (0.0, 0.0, 1.0)
    return distance, normal, t


class Workspace:
    """Half-space rows of one robot's cell."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        planes = np.array(spec.workspace, dtype=float).reshape(-1, 4)
        self._normal, self._offset = planes[:, :3], planes[:, 3]
        self._gain, self._num_joints = settings.workspace_gain, len(spec.joints)
        points = range(2 * len(spec.capsules) + 1)
        self._reason = (Reason.WORKSPACE,) * (len(points) * len(planes))
        self._index = tuple(i for i in points for _ in planes)

    def rows(self, p_W: Array, J: Array) -> Rows:
        """Rows at points `p_W` (P, 3) with Jacobians `J` (P, 3, num_joints), point by point, plane by plane."""
        h = p_W @ self._normal.T - self._offset
        return Rows((self._normal @ J).reshape(-1, self._num_joints), (-self._gain * h).ravel(), self._reason, self._index)
