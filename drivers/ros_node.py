"""A ROS 2 node of a driver whose device is ROS 2 itself: context and thread are its own, whatever process it runs in."""

import threading
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.signals import SignalHandlerOptions

WAKE_S = 0.1


class RosNode:
    """The node `name` in ROS `domain` (-1: ROS_DOMAIN_ID's). Nothing is heard before `start` or `hear`."""

    def __init__(self, name: str, domain: int) -> None:
        self._context = Context()
        number = None if domain < 0 else domain
        rclpy.init(context=self._context, domain_id=number, signal_handler_options=SignalHandlerOptions.NO)
        self.node: Any = rclpy.create_node(name, context=self._context, enable_rosout=False)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    @property
    def closed(self) -> bool:
        """It has left the domain."""
        return self._closed.is_set()

    def start(self) -> None:
        """Hear messages in a thread until closed."""
        self._thread.start()

    def hear(self) -> None:
        """Hear the next message, or none within WAKE_S, in this thread."""
        self._executor.spin_once(timeout_sec=WAKE_S)

    def close(self) -> None:
        """Leave the domain; closing twice is allowed."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2.0)
        self._executor.remove_node(self.node)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        while not self._closed.is_set() and self._context.ok():
            self.hear()
