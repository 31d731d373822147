"""sensor_msgs/Joy of any gamepad, pedal or foreign program on ROS 2. The device is ROS 2 itself, as in `ros_image`."""

import math
import time
from collections.abc import Mapping
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Joy

from drivers.ros_node import RosNode
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError

MOST = 64
"""More axes or buttons than any device has are no message of one."""


class JoyInputs:
    """The newest message of `topic` in ROS `domain` (-1: ROS_DOMAIN_ID's). joy_node has to repeat it (`autorepeat_rate`, 20 Hz
    by itself) more often than every `silent_s`: a publisher that fell silent is a hand off the device."""

    def __init__(self, topic: str, silent_s: float, domain: int = -1) -> None:
        self._topic, self._silent_ns = topic, nanoseconds(silent_s)
        self._newest: tuple[int, Any] | None = None
        self._ros = RosNode("joy_driver", domain)
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._ros.node.create_subscription(Joy, topic, self._take, qos)
        self._ros.start()

    def read(self, now_ns: int) -> Mapping[str, float]:
        """axis0.., -1..1, and button0.., 0 or 1. Raises DriverError while nobody speaks, or says what is no number."""
        newest = self._newest
        if newest is None or now_ns - newest[0] > self._silent_ns:
            raise DriverError(f"{self._topic}: nothing for {self._silent_ns / 1e9:g} s; is joy_node running, in this domain?")
        axes, buttons = newest[1].axes, newest[1].buttons
        if max(len(axes), len(buttons)) > MOST or not all(math.isfinite(value) for value in axes):
            raise DriverError(
                f"{self._topic}: found {len(axes)} axes, {len(buttons)} buttons, allowed {MOST} at most, all finite"
            )
        found = {f"axis{i}": max(-1.0, min(1.0, float(value))) for i, value in enumerate(axes)}
        return found | {f"button{i}": float(value != 0) for i, value in enumerate(buttons)}

    def close(self) -> None:
        """Leave the domain; closing twice is allowed."""
        self._ros.close()

    def _take(self, message: Any) -> None:
        self._newest = (time.monotonic_ns(), message)
