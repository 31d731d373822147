"""A ROS node inside any program, with a DDS participant, a thread and, where DDS security is asked for, an enclave of its own."""

import os
import threading
from collections.abc import Callable
from typing import Any

import rclpy
import rclpy.context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from robot_stack.graph import Topic, within
from robot_stack.nodes.lifecycle import WAKE_S
from robot_stack.nodes.messages import message_class
from robot_stack.secure.use import own_arguments


class Participant:
    """`node` is called `name`, as its enclave is, in `namespace` of `domain`. The discovery environment must be set: it is read
    once. What is heard is heard from `start` to `close`."""

    def __init__(self, name: str, domain: int, namespace: str = "") -> None:
        self._context = rclpy.context.Context()
        rclpy.init(
            context=self._context,
            domain_id=domain,
            args=own_arguments(os.environ, within(namespace, name)),
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = Node(
            name, context=self._context, use_global_arguments=False, start_parameter_services=False, namespace=namespace
        )
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._namespace = namespace
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    def listen(self, topic: Topic, callback: Callable[[Any], None], delivery: QoSProfile) -> None:
        """Call `callback` with the messages of `topic`."""
        self.node.create_subscription(message_class(topic.type), topic.wire_name(self._namespace), callback, delivery)

    def start(self) -> None:
        """Begin to hear."""
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        self._closing.set()
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        while self._context.ok() and not self._closing.is_set():
            self._executor.spin_once(timeout_sec=WAKE_S)
