"""A hand's twist as joint motion: the tool moves as the hand pushes, the gripper opens and closes."""

import math

import numpy as np

from drivers.hand import Hand
from drivers.twist_ik import TwistIk
from robot_stack.config.teleop import TeleopSettings
from robot_stack.robot import RobotSpec
from robot_stack.types import Array


class CartesianMover:
    """Moves the tool of `robot`, at full tilt with `linear_speed` and `angular_speed`, along the axes of the world or its own."""

    def __init__(self, robot: RobotSpec, settings: TeleopSettings) -> None:
        self._ik = TwistIk(robot)
        self._grip = np.where(self._ik.moves, 0.0, settings.grip_speed * robot.qd_max)
        self._fastest = np.repeat([settings.linear_speed, settings.angular_speed], 3)
        self._in_tool = settings.frame == "tool"
        sin, cos = math.sin(settings.yaw), math.cos(settings.yaw)
        self._R_W = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    def begin(self, q: Array, now_ns: int) -> None:
        """Go on from where the tool is at `q` (J,)."""
        self._ik.begin(q)

    def move(self, hand: Hand, q: Array, dt_s: float, now_ns: int) -> tuple[Array, Array]:
        """Where the joints `q` (J,) go within `dt_s`, and their speed. An idle hand moves nothing, not even towards home."""
        if not dt_s:
            return q, np.zeros_like(q)
        qd = self._grip * hand.grip
        if hand.twist.any():
            R_W = self._ik.rotation(q) if self._in_tool else self._R_W
            twist = hand.twist * self._fastest
            qd = qd + self._ik.step(q, R_W @ twist[:3], R_W @ twist[3:], dt_s)
        return q + qd * dt_s, qd

    def close(self) -> None:
        """Nothing is open."""
