"""The label of safety, h (m): how far all links are from the obstacle and from the walls of the cell. h < 0 is failure.

``h(q, p) = min( min_link dist(segment, p) - r_link - r_obstacle - margin,  min_{rows, link ends} n . p_end - d )``
for many states at once; `Kinematics.points` is the same forward kinematics for one. Signed distance of a capsule to a
sphere: distance of the centre to the segment, less both radii.
"""

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array


def link_points(q: Array, spec: RobotSpec) -> Array:
    """Points (n, P, 3) m in the world at joints `q` (n, J): both ends of every capsule, then the tip, as `Kinematics.points`."""
    if q.ndim != 2 or q.shape[1] != len(spec.joints):
        raise ContractError(f"link_points: found q {q.shape}, allowed (n, {len(spec.joints)})")
    R, p = _frames(np.asarray(q, dtype=np.float64), spec)
    ends = [(c.joint, end) for c in spec.capsules for end in (c.a, c.b)] + [(spec.tip_joint, spec.tip)]
    return np.stack([p[j] + R[j] @ np.array(end, dtype=np.float64) for j, end in ends], axis=1)


def _frames(q: Array, spec: RobotSpec) -> tuple[list[Array], list[Array]]:
    """Rotation (n, 3, 3) and origin (n, 3) of every joint frame."""
    rotations: list[Array] = []
    origins: list[Array] = []
    for i, joint in enumerate(spec.joints):
        axis = np.array(joint.axis, dtype=np.float64) / np.linalg.norm(joint.axis)
        turns = joint.kind == "revolute"
        R_pi = _rotations(axis, q[:, i]) if turns else np.broadcast_to(np.eye(3), (len(q), 3, 3))
        p_pi = np.array(joint.origin) + (0.0 if turns else axis * q[:, i : i + 1])
        p_pi = np.broadcast_to(p_pi, (len(q), 3))
        if joint.parent < 0:
            rotations.append(R_pi)
            origins.append(p_pi)
        else:
            R_p = rotations[joint.parent]
            rotations.append(R_p @ R_pi)
            origins.append(origins[joint.parent] + np.einsum("nab,nb->na", R_p, p_pi))
    return rotations, origins


def _rotations(axis: Array, angle: Array) -> Array:
    """Rodrigues: ``I + sin K + (1 - cos) K^2`` for angles (n,) about one unit axis (3,), as (n, 3, 3)."""
    K = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + np.sin(angle)[:, None, None] * K + (1 - np.cos(angle))[:, None, None] * (K @ K))


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
    points = link_points(q, spec)
    h = obstacle_margins(points, hazard_p, radius, kinematics) - margin
    return np.minimum(h, workspace_margins(points, spec)) if workspace else h
