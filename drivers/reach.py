"""Damped least-squares inverse kinematics of the tool (Wampler 1986): ``dq = J^T (J J^T + lambda^2 I)^-1 e``."""

import numpy as np

from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array

_DAMPING = 0.02
_STEP = 0.3


class Reach:
    """Joint positions that put the tip somewhere with the hand upright, found from a nearby pose."""

    def __init__(self, spec: RobotSpec) -> None:
        self.kinematics = Kinematics(spec)
        self._lower, self._upper = spec.q_min, spec.q_max

    def solve(self, q: Array, p_W: Array, iterations: int = 8) -> Array:
        """`q` (J,) changed so that the tip is at `p_W` (3,) m and its link upright, as near as the limits let it."""
        for _ in range(iterations):
            tip, R_W, J = self.kinematics.tip(q)
            turn = 0.5 * np.cross(R_W.T, np.eye(3)).sum(axis=0)
            error = np.concatenate([p_W - tip, turn])
            if np.abs(error).max() < 1e-5:
                break
            step = J.T @ np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(6), error)
            q = np.clip(q + np.clip(step, -_STEP, _STEP), self._lower, self._upper)
        return q
