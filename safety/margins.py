"""The label of safety, h (m): how far all links are from the obstacle and from the walls of the cell. h < 0 is failure.

``h(q, p) = min( min_link dist(segment, p) - r_link - r_obstacle - margin,  min_{rows, link ends} n . p_end - d )``
for many states at once. Signed distance of a capsule to a sphere: of the centre to the segment, less both radii.
"""

import numpy as np

from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array


def obstacle_margins(points: Array, hazard_p: Array, radius: float, kinematics: Kinematics) -> Array:
    """Signed distance (n,) m between the links of `points` (n, P, 3) and a sphere at `hazard_p` (n, 3) or (3,) of `radius` m."""
    ends = points[:, :-1].reshape(len(points), -1, 2, 3)
    a, along = ends[:, :, 0], ends[:, :, 1] - ends[:, :, 0]
    to_p = np.broadcast_to(hazard_p, (len(points), 3))[:, None] - a
    length2 = np.maximum(np.einsum("nki,nki->nk", along, along), 1e-12)
    share = np.clip(np.einsum("nki,nki->nk", to_p, along) / length2, 0.0, 1.0)
    distance = np.linalg.norm(to_p - share[..., None] * along, axis=2)
    return np.asarray(np.min(distance - kinematics.radius, axis=1) - radius)


def workspace_margins(points: Array, spec: RobotSpec) -> Array:
    """Smallest ``n . p - d`` (n,) m over the workspace rows and all of `points` (n, P, 3); inf without rows."""
    if not spec.workspace:
        return np.full(len(points), np.inf)
    rows = np.array(spec.workspace)
    return np.asarray(np.min(points @ rows[:, :3].T - rows[:, 3], axis=(1, 2)))


def margins(
    q: Array,
    hazard_p: Array,
    radius: float,
    kinematics: Kinematics,
    spec: RobotSpec,
    margin: float = 0.0,
    workspace: bool = True,
) -> Array:
    """h (n,) m of joints `q` (n, J) with an obstacle at `hazard_p` (n, 3) or (3,) of `radius` m, kept clear by `margin` m.

    `workspace` False leaves the walls out: where the filter holds them as exact half-spaces, a learned copy of them only
    shrinks the room to grasp on the table. Raises ContractError on a wrong number of joints.
    """
    points = kinematics.positions(q)
    h = obstacle_margins(points, hazard_p, radius, kinematics) - margin
    return np.minimum(h, workspace_margins(points, spec)) if workspace else h
