"""A camera on ROS 2 that is not ours: publishes pictures as they are given, or at a rate from a thread."""

import threading
import time
from array import array

import cv2
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

PIXELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "16UC1": 2}


class ImagePublisher:
    """Publishes on `topic` of `domain`: CompressedImage where `compressed`, else Image; reliably or not."""

    def __init__(self, topic: str, domain: int, compressed: bool = False, reliable: bool = True) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("foreign_camera", context=self._context)
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        kind = CompressedImage if compressed else Image
        self._publisher = self._node.create_publisher(kind, topic, QoSProfile(depth=1, reliability=reliability))
        self._compressed = compressed
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self, pixels: np.ndarray, encoding: str = "rgb8", stamp_ns: int | None = None, padding: int = 0) -> None:
        """One picture (H, W[, C]) as it is, rows `padding` bytes longer than they need; compressed from rgb."""
        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        if self._compressed:
            message = CompressedImage(format="jpeg")
            message.data = array("B", cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())
        else:
            rows = np.pad(pixels.reshape(len(pixels), -1).view(np.uint8), ((0, 0), (0, padding)))
            message = Image(height=len(pixels), width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
            message.data = array("B", rows.tobytes())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        self._publisher.publish(message)

    def start(self, pixels: np.ndarray, rate_hz: float = 30.0) -> "ImagePublisher":
        """Publish `pixels` at a rate until closed."""

        def publish() -> None:
            while not self._ending.wait(1.0 / rate_hz):
                self.publish(pixels)

        self._thread = threading.Thread(target=publish, daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Be gone."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
