"""Forward kinematics of a tree of joints and of points fixed to its links, with Jacobians, in plain numpy.

Frame i of joint i: ``X_Wi = X_Wp X_pi`` with ``R_pi = Rot(axis, q)``, ``p_pi = origin + axis q [prismatic]`` for parent p.
Rotation by Rodrigues: ``R = I + sin(q) K + (1 - cos(q)) K^2`` with ``K = [axis]_x``.
A joint as a screw in the world: (v, w) = (p_Wi x w, axis_W) revolute, (axis_W, 0) prismatic (Lynch and Park, Modern Robotics,
5.1.1). A point p of a link it moves then has the velocity ``v + w x p`` per unit of its speed, and along a direction n
``(n, p x n) . (v, w)``: one product of all (n, p x n) with all screws gives all rows a filter needs.
"""

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.robot import CameraSpec, RobotSpec
from robot_stack.types import Array

_CROSS = np.array([np.cross(a, b) for a in np.eye(3) for b in np.eye(3)])
"""``(a x b)_l = sum_ik a_i b_k _CROSS[3 i + k, l]``."""


def cross(a: Array, b: Array) -> Array:
    """``a x b`` of vectors (..., 3) and (..., 3); at this size a few times faster than numpy's."""
    outer = a[..., :, None] * b[..., None, :]
    return np.asarray(outer.reshape(*outer.shape[:-2], 9) @ _CROSS)


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
        self._slides = self._axis * (1.0 - self._revolute)[:, None]
        self._turns = self._axis * self._revolute[:, None]
        self._local = self._tables(np.array([j.origin for j in spec.joints], dtype=float))
        ends = [(c.joint, p) for c in spec.capsules for p in (c.a, c.b)] + [(spec.tip_joint, spec.tip)]
        self.point_joint = np.array([j for j, _ in ends])
        self._point = np.array([(*p, 1.0) for _, p in ends], dtype=float)[:, None, :, None]
        self.radius = np.array([c.radius for c in spec.capsules])
        self.moves = self._ancestors()[self.point_joint]

    def _tables(self, origin: Array) -> Array:
        """(J, 4, 16): ``X_pi`` row by row from the coefficients (1, sin q, cos q, q)."""
        K = np.array([_skew(a) for a in self._turns])
        fixed, by_sin, by_cos, by_slide = np.zeros((4, self.num_joints, 4, 4))
        fixed[:] = np.eye(4)
        fixed[:, :3, :3] += K @ K
        fixed[:, :3, 3] = origin
        by_sin[:, :3, :3] = K
        by_cos[:, :3, :3] = -K @ K
        by_slide[:, :3, 3] = self._slides
        return np.stack([fixed, by_sin, by_cos, by_slide], axis=1).reshape(self.num_joints, 4, 16)

    def _ancestors(self) -> Array:
        """(J, J) 1 where joint j moves the frame of joint i."""
        table = np.zeros((self.num_joints, self.num_joints))
        for i, p in enumerate(self._parent):
            if p >= 0:
                table[i] = table[p]
            table[i, i] = 1.0
        return table

    def poses(self, q: Array) -> Array:
        """Homogeneous pose of every joint frame in the world (J, n, 4, 4) at n states `q` (n, J). Raises ContractError."""
        if q.ndim != 2 or q.shape[1] != self.num_joints:
            raise ContractError(f"Kinematics: found q {q.shape}, allowed (n, {self.num_joints}): one column a joint")
        by_joint = q.T
        terms = np.ones((self.num_joints, len(q), 4))
        np.sin(by_joint, out=terms[:, :, 1])
        np.cos(by_joint, out=terms[:, :, 2])
        terms[:, :, 3] = by_joint
        X = (terms @ self._local).reshape(self.num_joints, len(q), 4, 4)
        for i, p in enumerate(self._parent):
            if p >= 0:
                X[i] = X[p] @ X[i]
        return X

    def frames(self, q: Array) -> tuple[Array, Array, Array]:
        """Pose of every joint frame at `q` (J,): `R_W` (J, 3, 3), `p_W` (J, 3) m, and the joint axes in the world (J, 3)."""
        X = self.poses(q[None])[:, 0]
        return X[:, :3, :3], X[:, :3, 3], (X[:, :3, :3] @ self._axis[:, :, None])[:, :, 0]

    def screws(self, X: Array) -> Array:
        """The joints as screws (6, J), v over w, at the first state of the `poses` X (J, n, 4, 4)."""
        R_W = X[:, 0, :3, :3]
        w = (R_W @ self._turns[:, :, None])[:, :, 0]
        v = cross(X[:, 0, :3, 3], w) + (R_W @ self._slides[:, :, None])[:, :, 0]
        return np.concatenate([v.T, w.T])

    def places(self, X: Array) -> Array:
        """The points in the world (P, n, 3) m at the `poses` X (J, n, 4, 4)."""
        return np.asarray((X[self.point_joint] @ self._point)[:, :, :3, 0])

    def points(self, q: Array) -> tuple[Array, Array]:
        """Points fixed to links at `q` (J,): `p_W` (P, 3) m and Jacobians (P, 3, J) with ``p_dot = J qd``."""
        X = self.poses(q[None])
        p_W, screws = self.places(X)[:, 0], self.screws(X).T
        columns = screws[:, :3] + cross(screws[:, 3:], p_W[:, None, :])
        return p_W, np.swapaxes(columns * self.moves[:, :, None], 1, 2)

    def positions(self, q: Array) -> Array:
        """The `points` of many states `q` (n, J) at once, without Jacobians: (n, P, 3) m. Raises ContractError."""
        return np.swapaxes(self.places(self.poses(q)), 0, 1)

    def tip(self, q: Array) -> tuple[Array, Array, Array]:
        """Tool point at `q` (J,): `p_W` (3,), `R_W` (3, 3) of its link, and the stacked Jacobian (6, J): linear rows first."""
        X = self.poses(q[None])
        joint, screws = int(self.point_joint[-1]), self.screws(X).T
        p_W = self.places(X)[-1, 0]
        linear = screws[:, :3] + cross(screws[:, 3:], p_W[None])
        return p_W, X[joint, 0, :3, :3], np.concatenate([linear.T, screws[:, 3:].T]) * self.moves[-1]


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
