"""A camera that already publishes on ROS 2: any topic of sensor_msgs/Image or CompressedImage.

A picture's time is its header's stamp on the monotonic clock (`camera_capture.taken_ns` says how); one that is stamped by neither
clock of this computer has the time of its arrival, less `delay_s`.
"""

import time
from contextlib import closing
from typing import Any

import cv2
import numpy as np
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from drivers.camera_capture import Picture, taken_ns
from drivers.opencv_camera import decoded
from drivers.ros_node import RosNode
from robot_stack.camera_device import CameraDevice
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError
from robot_stack.types import Image as Pixels

KINDS = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
}
"""Bytes a pixel and the conversion to rgb of each `encoding` of sensor_msgs/image_encodings.hpp that is understood."""
FIND_S, LIST_S = 5.0, 2.0
"""How long to wait for the publisher of a topic, and for all there are."""
_POLL_S = 0.02


class RosImageSource:
    """The topic `device.at` in `device.domain`. Raises DriverError when nobody publishes pictures there within `FIND_S`."""

    def __init__(self, device: CameraDevice) -> None:
        self._topic, self._delay_ns = device.at, nanoseconds(device.delay_s)
        self._arrived: tuple[int, int, Any] | None = None
        self._ros = RosNode("camera_driver", device.domain)
        try:
            kind, reliability = self._published()
        except DriverError:
            self.close()
            raise
        newest = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)
        self._ros.node.create_subscription(kind, self._topic, self._take, newest)

    def next(self) -> Picture | None:
        """The newest picture, or None after 0.1 s without. Raises DriverError for a message that is no picture."""
        self._ros.hear()
        arrived, self._arrived = self._arrived, None
        if arrived is None:
            return None
        now_ns, wall_ns, message = arrived
        stamp = message.header.stamp
        t_ns = taken_ns(stamp.sec * 1_000_000_000 + stamp.nanosec, now_ns, wall_ns)
        return (t_ns if t_ns != now_ns else now_ns - self._delay_ns), pixels(message, self._topic)

    def close(self) -> None:
        """Leave the domain."""
        self._ros.close()

    def _take(self, message: Any) -> None:
        self._arrived = (time.monotonic_ns(), time.time_ns(), message)

    def _published(self) -> tuple[type, ReliabilityPolicy]:
        """Which messages are published, and how to hear them all: large ones get lost where they need not be resent."""
        until = time.monotonic() + FIND_S
        while not (found := self._ros.node.get_publishers_info_by_topic(self._topic)):
            if time.monotonic() > until:
                raise DriverError(f"{self._topic}: nobody publishes it; start its node, in the domain of device.domain")
            time.sleep(_POLL_S)
        if found[0].topic_type not in KINDS:
            raise DriverError(f"{self._topic}: found {found[0].topic_type}, allowed {', '.join(KINDS)}; start with another topic")
        sure = all(publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE for publisher in found)
        return KINDS[found[0].topic_type], ReliabilityPolicy.RELIABLE if sure else ReliabilityPolicy.BEST_EFFORT


def pixels(message: Any, topic: str) -> Pixels:
    """The picture (H, W, 3) of an Image or a CompressedImage. Raises DriverError when it is none."""
    if isinstance(message, CompressedImage):
        return decoded(message.data, topic)
    data = np.frombuffer(message.data, np.uint8)
    if message.encoding not in ENCODINGS:
        raise DriverError(f"{topic}: found pictures in {message.encoding!r}, allowed {', '.join(ENCODINGS)}")
    channels, conversion = ENCODINGS[message.encoding]
    row = message.width * channels
    if not 0 < row <= message.step or data.size < message.height * message.step or not message.height:
        size = f"{message.width}x{message.height}, {message.step} bytes a row, {data.size} bytes"
        raise DriverError(f"{topic}: found a picture of {size}, allowed {row} bytes a row or more, and all rows")
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :row]
    image = rows.reshape(message.height, message.width, channels)
    return image if conversion is None else np.asarray(cv2.cvtColor(image, conversion), dtype=np.uint8)


def image_topics(domain: int = -1, wait_s: float = LIST_S) -> list[str]:
    """The topics in `domain` (-1: ROS_DOMAIN_ID's) that carry pictures and have a publisher."""
    with closing(RosNode("camera_finder", domain)) as ros:
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            time.sleep(_POLL_S)
        names = [name for name, kinds in ros.node.get_topic_names_and_types() if set(kinds) & set(KINDS)]
        return sorted(name for name in names if ros.node.count_publishers(name))
