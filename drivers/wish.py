"""Where a human wants the joints, as chunks: it begins where the arm is held and never gets far from where it is measured."""

import numpy as np

from robot_stack.robot import RobotSpec
from robot_stack.types import ActionChunk, Array, JointState

ROWS, ROW_NS = 16, 20_000_000
"""0.3 s: the arm has a row due until it is sure that the next chunk does not come."""
COAST_S = 0.05
"""Behind the present the wish comes to rest: ``q + qd tau (1 - exp(-t / tau))``, tau = COAST_S."""


class Wish:
    """Joint positions `q` (J,) that a human wants, kept inside the limits and within `lead` rad of the measured ones."""

    def __init__(self, robot: RobotSpec, lead: float) -> None:
        self.q = np.array(robot.q_home)
        self._qd = np.zeros_like(self.q)
        self._lead = lead
        self._q_min, self._q_max = robot.q_min, robot.q_max
        self._low, self._high = robot.q_min, robot.q_max
        t = np.arange(ROWS) * (ROW_NS / 1e9)
        self._ahead = COAST_S * (1.0 - np.exp(-t / COAST_S))[:, None]

    def begin(self, joints: JointState, commanded: Array | None) -> None:
        """From here on relative: where each joint was last sent to, if that is near where it is (a gripper goes on squeezing).

        An arm outside its limits may stay where it is, and go back.
        """
        near = np.zeros(self.q.shape, bool) if commanded is None else np.abs(commanded - joints.q) <= self._lead
        self.q = np.where(near, joints.q if commanded is None else commanded, joints.q)
        self._low, self._high = np.minimum(self._q_min, self.q), np.maximum(self._q_max, self.q)
        self._qd = np.zeros_like(self.q)

    def move(self, q: Array, qd: Array, joints: JointState) -> None:
        """To `q` (J,), moving with `qd` (J,); a joint that may not go so far stands there."""
        low, high = np.maximum(self._low, joints.q - self._lead), np.minimum(self._high, joints.q + self._lead)
        self.q = np.minimum(np.maximum(q, low), high)
        self._qd = np.where(self.q == q, qd, 0.0)

    def chunk(self, now_ns: int, source: str) -> ActionChunk:
        """The next 0.3 s: on with the present speed, soon at rest."""
        rows = self.q + self._ahead * self._qd
        return ActionChunk(now_ns, now_ns, ROW_NS, np.minimum(np.maximum(rows, self._low), self._high), source)
