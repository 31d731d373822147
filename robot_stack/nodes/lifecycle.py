"""The shell around every node: one lifecycle node, one `Job`, one main loop. What a node does is in its job."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import rclpy
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from robot_stack.discovery import require_known_network
from robot_stack.errors import RobotStackError
from robot_stack.graph import Topic
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.qos import every, newest

WAKE_S = 0.1
"""The main loop looks for a signal or a fault this often. Waiting without a limit never wakes with the wheels' executor."""


class Job(Protocol):
    """What a node does, from being configured (its construction, which opens devices) until it is closed."""

    def activate(self) -> None:
        """Begin to work."""
        ...

    def deactivate(self) -> None:
        """Stop working, devices stay open; allowed when not working."""
        ...

    def close(self) -> None:
        """Give back the devices; the node destroys topics and services by itself."""
        ...


class ManagedNode(LifecycleNode):
    """A lifecycle node that runs one job. Parameters: `config`, the run file; `autostart`, go to active without being asked."""

    def __init__(self, name: str, make: Callable[["ManagedNode"], Job]) -> None:
        super().__init__(name)
        self.declare_parameter("config", "")
        self.declare_parameter("autostart", True)
        self.job: Job | None = None
        self.fault: BaseException | None = None
        self._make = make
        self._opened: list[tuple[Callable[[Any], object], Any]] = []
        for service in self.services:
            if service.srv_name.endswith("/change_state"):
                service.callback = self._guard(service.callback)

    def text(self, name: str, default: str = "") -> str:
        """The value of the text parameter `name`, declared on first use."""
        if not self.has_parameter(name):
            self.declare_parameter(name, default)
        return str(self.get_parameter(name).value)

    def fail(self, error: BaseException) -> None:
        """An exception nobody expected, from any thread: the main loop reports it and ends the process."""
        self.fault = self.fault or error

    def publisher(self, topic: Topic) -> Any:
        """A publisher of `topic` that lives as long as the job."""
        publisher = self.create_publisher(message_class(topic.type), topic.name, every(topic))
        self._opened.append((self.destroy_publisher, publisher))
        return publisher

    def subscribe(self, topic: Topic, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the newest message of `topic` for as long as the job lives."""
        subscription = self.create_subscription(message_class(topic.type), topic.name, callback, newest(topic))
        self._opened.append((self.destroy_subscription, subscription))

    def record(self, topic: Topic, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with the bytes of every message of `topic` for as long as the job lives."""
        subscription = self.create_subscription(message_class(topic.type), topic.name, callback, every(topic), raw=True)
        self._opened.append((self.destroy_subscription, subscription))

    def serve(self, kind: type, name: str, callback: Callable[[Any, Any], Any]) -> None:
        """Answer the service `name` for as long as the job lives."""
        self._opened.append((self.destroy_service, self.create_service(kind, name, callback)))

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the job. A known fault (missing device, bad setting) is said in one line and leaves the node unconfigured."""
        return self._attempt(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the job."""
        return self._attempt(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the job."""
        return self._attempt(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the job: the node may be configured again, by another run file."""
        return self._attempt(self.release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and close the job for good."""
        return self._attempt(self.release)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an exception in a transition: back to unconfigured, everything closed."""
        return self._attempt(self.release)

    def start(self) -> bool:
        """Configure and activate; False when the job could not be made or started."""
        success = TransitionCallbackReturn.SUCCESS
        return bool(self.trigger_configure() == success and self.trigger_activate() == success)

    def release(self) -> None:
        """Stop and close the job, then its topics and services; allowed at any time."""
        job, self.job = self.job, None
        try:
            if job is not None:
                job.deactivate()
                job.close()
        finally:
            while self._opened:
                destroy, entity = self._opened.pop()
                destroy(entity)

    def _configure(self) -> None:
        try:
            self.job = self._make(self)
        except BaseException:
            self.release()
            raise

    def _activate(self) -> None:
        if self.job is not None:
            self.job.activate()

    def _deactivate(self) -> None:
        if self.job is not None:
            self.job.deactivate()

    def _attempt(self, act: Callable[[], object]) -> TransitionCallbackReturn:
        try:
            act()
        except RobotStackError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.get_logger().fatal(f"unexpected: {''.join(traceback.format_exception(error))}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _guard(self, change_state: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """`change_state` that answers success=False to a transition not allowed now; Jazzy's raises and ends the node instead."""

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:
                self.get_logger().warning(f"transition {request.transition.id} {request.transition.label!r} refused: {error}")
                response.success = False
                return response

        return guarded


def run_node(name: str, make: Callable[[ManagedNode], Job]) -> int:
    """The main of every node: exit code 0 after SIGINT, SIGTERM or a lifecycle shutdown, 1 after a fault."""
    try:
        require_known_network(os.environ)
    except RobotStackError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: asked.append(number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = ManagedNode(name, make)
    try:
        return _spin(node, asked)
    finally:
        node.release()
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(node: ManagedNode, asked: list[int]) -> int:
    executor = EventsExecutor()
    executor.add_node(node)
    if node.get_parameter("autostart").value and not node.start():
        return 1
    while rclpy.ok() and not asked and node.fault is None:
        executor.spin_once(timeout_sec=WAKE_S)
    if node.fault is not None:
        node.get_logger().fatal(f"ends: {''.join(traceback.format_exception(node.fault))}")
    executor.remove_node(node)
    return 0 if node.fault is None else 1
