"""Forward kinematics of a tree of joints and of points fixed to its links, with Jacobians, in plain numpy.

Frame i of joint i: ``R_Wi = R_Wp Rot(axis, q)``, ``p_Wi = p_Wp + R_Wp (origin + axis q [prismatic])`` for parent p.
Rotation by Rodrigues: ``R = I + sin(q) K + (1 - cos(q)) K^2`` with ``K = [axis]_x``.
Jacobian column of a revolute ancestor i of point p: ``axis_W x (p - p_Wi)``; of a prismatic one: ``axis_W``.
"""

import numpy as np

from robot_stack.robot import CameraSpec, RobotSpec
from robot_stack.types import Array


def _skew(a: Array) -> Array:
    return np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])


class Kinematics:
    """Precomputed tables of one robot. Points are the capsule ends (a then b of each capsule) and the tool tip, last."""

    def __init__(self, spec: RobotSpec) -> None:
        self.num_joints = len(spec.joints)
        self._parent = [j.parent for j in spec.joints]
        self._origin = np.array([j.origin for j in spec.joints])
        axes = np.array([j.axis for j in spec.joints], dtype=float)
        self._axis = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        self._revolute = np.array([j.kind == "revolute" for j in spec.joints])
        self._K = np.array([_skew(a) for a in self._axis])
        self._KK = self._K @ self._K
        ends = [(c.joint, p) for c in spec.capsules for p in (c.a, c.b)] + [(spec.tip_joint, spec.tip)]
        self.point_joint = np.array([j for j, _ in ends])
        self._point = np.array([p for _, p in ends])
        self.radius = np.array([c.radius for c in spec.capsules])
        self._moves = self._ancestors()[self.point_joint]
        self._columns = np.where(self._revolute, 1.0, 0.0)

    def _ancestors(self) -> Array:
        """(J, J) 1 where joint j moves the frame of joint i."""
        table = np.zeros((self.num_joints, self.num_joints))
        for i, p in enumerate(self._parent):
            if p >= 0:
                table[i] = table[p]
            table[i, i] = 1.0
        return table

    def frames(self, q: Array) -> tuple[Array, Array, Array]:
        """Pose of every joint frame at `q` (J,): `R_W` (J, 3, 3), `p_W` (J, 3) m, and the joint axes in the world (J, 3)."""
        angle = q * self._columns
        rot = np.eye(3) + np.sin(angle)[:, None, None] * self._K + (1 - np.cos(angle))[:, None, None] * self._KK
        slide = self._origin + self._axis * (q * (1 - self._columns))[:, None]
        R_W, p_W = np.empty((self.num_joints, 3, 3)), np.empty((self.num_joints, 3))
        for i, p in enumerate(self._parent):
            R_P = R_W[p] if p >= 0 else np.eye(3)
            R_W[i] = R_P @ rot[i]
            p_W[i] = R_P @ slide[i] + (p_W[p] if p >= 0 else 0.0)
        return R_W, p_W, np.einsum("jab,jb->ja", R_W, self._axis)

    def points(self, q: Array) -> tuple[Array, Array]:
        """Points fixed to links at `q` (J,): `p_W` (P, 3) m and Jacobians (P, 3, J) with ``p_dot = J qd``."""
        R_W, p_joint, axis_W = self.frames(q)
        p_W = p_joint[self.point_joint] + np.einsum("pab,pb->pa", R_W[self.point_joint], self._point)
        arm = p_W[:, None, :] - p_joint[None, :, :]
        turn = np.cross(axis_W[None, :, :], arm)
        columns = np.where(self._revolute[None, :, None], turn, axis_W[None, :, :])
        return p_W, (columns * self._moves[:, :, None]).transpose(0, 2, 1)

    def tip(self, q: Array) -> tuple[Array, Array, Array]:
        """Tool point at `q` (J,): `p_W` (3,), `R_W` (3, 3) of its link, and the stacked Jacobian (6, J): linear rows first."""
        R_W, p_joint, axis_W = self.frames(q)
        joint = int(self.point_joint[-1])
        p_W = p_joint[joint] + R_W[joint] @ self._point[-1]
        moves = self._moves[-1][:, None]
        linear = np.where(self._revolute[:, None], np.cross(axis_W, p_W - p_joint), axis_W) * moves
        angular = axis_W * (self._columns[:, None] * moves)
        return p_W, R_W[joint], np.vstack([linear.T, angular.T])


def camera_pose(spec: CameraSpec) -> tuple[Array, Array]:
    """Pose of a camera in the frame it is fixed to: `R` (3, 3) with columns x right, y down, z forward (OpenCV), and `p` (3,) m."""
    p = np.array(spec.origin, dtype=float)
    z = np.array(spec.target, dtype=float) - p
    z /= np.linalg.norm(z)
    x = np.cross(z, np.array(spec.up, dtype=float))
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z]), p


def camera_matrix(spec: CameraSpec) -> Array:
    """Pinhole matrix K (3, 3) in pixels: square pixels, centre of the picture, ``f = (height / 2) / tan(fovy / 2)``."""
    f = 0.5 * spec.height / np.tan(0.5 * spec.fovy)
    return np.array([[f, 0, 0.5 * spec.width], [0, f, 0.5 * spec.height], [0, 0, 1]])
