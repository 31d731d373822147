"""Forward kinematics of a tree of joints and of points fixed to its links, with Jacobians, in plain numpy.

Frame i of joint i: ``X_Wi = X_Wp X_pi`` with ``R_pi = Rot(axis, q)``, ``p_pi = origin + axis q [prismatic]`` for parent p.
Rotation by Rodrigues: ``R = I + sin(q) K + (1 - cos(q)) K^2`` with ``K = [axis]_x``.
Jacobian column of a revolute ancestor i of point p: ``axis_W x (p - p_Wi)``; of a prismatic one: ``axis_W``. As the column is
affine in p, one product of a (3 J, 4) table with all points gives all columns.
"""

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.robot import CameraSpec, RobotSpec
from robot_stack.types import Array


def _skew(a: Array) -> Array:
    return np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])


class Kinematics:
    """Precomputed tables of one robot. Points are the capsule ends (a then b of each capsule) and the tool tip, last."""

    def __init__(self, spec: RobotSpec) -> None:
        self.num_joints = len(spec.joints)
        self._parent = [j.parent for j in spec.joints]
        axes = np.array([j.axis for j in spec.joints], dtype=float)
        self._axis = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        self._revolute = np.array([1.0 if j.kind == "revolute" else 0.0 for j in spec.joints])
        self._tables(np.array([j.origin for j in spec.joints], dtype=float))
        ends = [(c.joint, p) for c in spec.capsules for p in (c.a, c.b)] + [(spec.tip_joint, spec.tip)]
        self.point_joint = np.array([j for j, _ in ends])
        self._point = np.array([(*p, 1.0) for _, p in ends], dtype=float)[:, :, None]
        self.radius = np.array([c.radius for c in spec.capsules])
        self.moves = self._ancestors()[self.point_joint]
        self._moves = np.ascontiguousarray(self.moves[:, None, :])

    def _tables(self, origin: Array) -> None:
        """``X_pi = fixed + sin(q) by_sin + (1 - cos(q)) by_cos + q by_slide``, each (J, 4, 4)."""
        K = np.array([_skew(a) for a in self._axis])
        turns = self._revolute[:, None, None]
        self._fixed, self._by_sin, self._by_cos, self._by_slide = np.zeros((4, self.num_joints, 4, 4))
        self._fixed[:] = np.eye(4)
        self._fixed[:, :3, 3] = origin
        self._by_sin[:, :3, :3] = K * turns
        self._by_cos[:, :3, :3] = K @ K * turns
        self._by_slide[:, :3, 3] = self._axis * (1.0 - self._revolute)[:, None]

    def _ancestors(self) -> Array:
        """(J, J) 1 where joint j moves the frame of joint i."""
        table = np.zeros((self.num_joints, self.num_joints))
        for i, p in enumerate(self._parent):
            if p >= 0:
                table[i] = table[p]
            table[i, i] = 1.0
        return table

    def _chain(self, q: Array) -> Array:
        """Homogeneous pose of every joint frame in the world (..., J, 4, 4) at `q` (..., J)."""
        angle = q[..., None, None]
        X = self._fixed + np.sin(angle) * self._by_sin + (1.0 - np.cos(angle)) * self._by_cos + angle * self._by_slide
        for i, p in enumerate(self._parent):
            if p >= 0:
                X[..., i, :, :] = X[..., p, :, :] @ X[..., i, :, :]
        return X

    def frames(self, q: Array) -> tuple[Array, Array, Array]:
        """Pose of every joint frame at `q` (J,): `R_W` (J, 3, 3), `p_W` (J, 3) m, and the joint axes in the world (J, 3)."""
        X = self._chain(q)
        return X[:, :3, :3], X[:, :3, 3], (X[:, :3, :3] @ self._axis[:, :, None])[:, :, 0]

    def points(self, q: Array) -> tuple[Array, Array]:
        """Points fixed to links at `q` (J,): `p_W` (P, 3) m and Jacobians (P, 3, J) with ``p_dot = J qd``."""
        X = self._chain(q)
        axis = X[:, :3, :3] @ self._axis[:, :, None]
        p4 = (X[self.point_joint] @ self._point)[:, :, 0]
        columns = p4 @ self._table(axis[:, :, 0], X[:, :3, 3])
        return p4[:, :3], columns.reshape(-1, 3, self.num_joints) * self._moves

    def positions(self, q: Array) -> Array:
        """The `points` of many states `q` (n, J) at once, without Jacobians: (n, P, 3) m. Raises ContractError."""
        if q.ndim != 2 or q.shape[1] != self.num_joints:
            raise ContractError(f"Kinematics.positions: found q {q.shape}, allowed (n, {self.num_joints}): one column a joint")
        return np.asarray((self._chain(q)[:, self.point_joint] @ self._point)[..., :3, 0])

    def _table(self, axis_W: Array, p_W: Array) -> Array:
        """(4, 3 J): coefficients of ``w x p + slide - w x p_Wj`` in (p, 1), by direction; w = axis of a revolute joint."""
        x, y, z = (axis_W * self._revolute[:, None]).T
        px, py, pz = p_W.T
        M = np.zeros((4, 3, self.num_joints))
        M[1, 0], M[2, 0] = -z, y
        M[0, 1], M[2, 1] = z, -x
        M[0, 2], M[1, 2] = -y, x
        M[3, 0], M[3, 1], M[3, 2] = z * py - y * pz, x * pz - z * px, y * px - x * py
        M[3] += (axis_W * (1.0 - self._revolute)[:, None]).T
        return M.reshape(4, -1)

    def tip(self, q: Array) -> tuple[Array, Array, Array]:
        """Tool point at `q` (J,): `p_W` (3,), `R_W` (3, 3) of its link, and the stacked Jacobian (6, J): linear rows first."""
        R_W, p_joint, axis_W = self.frames(q)
        joint = int(self.point_joint[-1])
        p_W = p_joint[joint] + R_W[joint] @ self._point[-1, :3, 0]
        turns, moves = self._revolute[:, None], self.moves[-1][:, None]
        linear = (np.cross(axis_W, p_W - p_joint) * turns + axis_W * (1.0 - turns)) * moves
        return p_W, R_W[joint], np.vstack([linear.T, (axis_W * (turns * moves)).T])


def camera_pose(spec: CameraSpec) -> tuple[Array, Array]:
    """Pose of a camera in the frame it is fixed to: `R` (3, 3), columns x right, y down, z forward (OpenCV), and `p` (3,) m."""
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
