"""The shell around every node: one lifecycle node, one `Job`, one main loop. What a node does is in its job."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import rclpy
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.duration import Duration
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from robot_stack.diagnostics import loop_reading
from robot_stack.discovery import require_known_network
from robot_stack.errors import ContractError, DataError, RobotStackError
from robot_stack.graph import IMAGE, Topic, within
from robot_stack.nodes.door import Door
from robot_stack.nodes.health import Ear, Health
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.periodic import Periodic
from robot_stack.nodes.qos import every, newest
from robot_stack.nodes.sayer import Sayer

WAKE_S = 0.1
"""The main loop looks for a signal or a fault this often. Waiting without a limit never wakes with the wheels' executor."""
TEXT_MOST = 1000
"""Characters a text parameter may have."""


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
    """A lifecycle node that runs one job. Parameters: `config`, the run file; `autostart`, go to active without being asked.

    While it is configured, a parameter may change only where its job has said so by `text`; setting another is refused.
    """

    def __init__(self, name: str, make: Callable[["ManagedNode"], Job]) -> None:
        super().__init__(name)
        self.sayer = Sayer(self.get_logger())
        self.health = Health(self, within(self.get_namespace(), self.get_name())[1:])
        self._changing: dict[str, Callable[[str], str]] = {}
        self.add_on_set_parameters_callback(self._judge)
        for parameter, default in (("config", ""), ("autostart", True)):
            self.declare_parameter(parameter, default, ParameterDescriptor(read_only=True))
        self.job: Job | None = None
        self.fault: BaseException | None = None
        self._active, self._make = False, make
        self._door: Door | None = None
        self._opened: list[tuple[Callable[[Any], object], Any]] = []
        for service in self.services:
            if service.srv_name.endswith("/change_state"):
                service.callback = self._guard(service.callback)

    def fixed(self, name: str, default: str = "") -> str:
        """The value of the text parameter `name`, declared on first use, which stays as it is while the node is configured."""
        if not self.has_parameter(name):
            self.declare_parameter(name, default)
        return str(self.get_parameter(name).value)

    def text(self, name: str, default: str = "", refusal: Callable[[str], str] | None = None) -> str:
        """The value of the text parameter `name`, declared on first use, which may change at any time; `refusal` says why not
        ("": it may)."""
        if refusal is not None or name not in self._changing:
            self._changing[name] = refusal or (lambda _: "")
        return self.fixed(name, default)

    def loop(self, name: str, period_ns: int, step: Callable[[int], None], priority: int = 0, cpu: int = -1) -> Periodic:
        """A loop of the job, not yet started; how it keeps its time is said on /diagnostics."""
        made = Periodic(name, period_ns, step, self.fail, priority, cpu)
        self.health.watch(lambda _, dt_ns: [loop_reading(name, period_ns, made.spell(), dt_ns)] if made.running else [])
        return made

    def breathe(self) -> None:
        """What the main loop does besides its messages: say what was left to say, and how the node is."""
        self.sayer.flush()
        self.health.tell(time.monotonic_ns(), "unconfigured" if self.job is None else "active" if self._active else "inactive")

    @property
    def door(self) -> Door:
        """Who may come in, by the keys beside the run file; read anew each time the node is configured. Raises ConfigError."""
        self._door = self._door or Door(self, Path(self.fixed("config")))
        return self._door

    def fail(self, error: BaseException) -> None:
        """An exception nobody expected, from any thread: the main loop reports it and ends the process."""
        self.fault = self.fault or error

    def publisher(self, topic: Topic) -> Any:
        """A publisher of `topic`, which seals what others act on, that lives as long as the job."""
        publisher = self.create_publisher(message_class(topic.type), topic.wire_name(self.get_namespace()), every(topic))
        self._opened.append((self._leave, publisher))
        return self.door.outward(publisher) if topic.sealed else publisher

    def subscribe(self, topic: Topic, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the newest message of `topic` that may come in, for as long as the job lives.

        One that it finds to be no value (ContractError) is said and dropped; whoever sent it counts as silent.
        """
        ear = Ear(topic, callback)
        self.health.watch(ear.check)
        kind, name = message_class(topic.type), topic.wire_name(self.get_namespace())
        heard = self.door.inward(ear, topic, name) if topic.sealed else ear
        raw = topic.type == IMAGE
        take = self._dropping(topic, _unpacking(topic.type, heard) if raw else heard)
        subscription = self.create_subscription(kind, name, take, newest(topic), raw=raw)
        self._opened.append((self.destroy_subscription, subscription))

    def record(self, topic: Topic, callback: Callable[[bytes], None]) -> Callable[[], tuple[bool, int | None]]:
        """Hand the bytes of all messages of `topic` to `callback`; asks whether anybody publishes it, when it last came (ns)."""
        ear = Ear(topic, callback, raw=True)
        self.health.watch(ear.check)
        kind, name = message_class(topic.type), topic.wire_name(self.get_namespace())
        subscription = self.create_subscription(kind, name, ear, every(topic), raw=True)
        self._opened.append((self.destroy_subscription, subscription))
        return lambda: (bool(subscription.get_publisher_count()), ear.last_ns)

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
        job, self.job, self._active = self.job, None, False
        self.health.forget()
        self._changing.clear()
        try:
            if job is not None:
                job.deactivate()
                job.close()
        finally:
            while self._opened:
                destroy, entity = self._opened.pop()
                destroy(entity)
            self._door = None

    def _configure(self) -> None:
        self.health.watch(lambda *_: [self.sayer.reading()])
        self.text("permit")
        try:
            self.job = self._make(self)
        except BaseException:
            self.release()
            raise

    def _activate(self) -> None:
        if self.job is not None:
            self.job.activate()
            self._active = True

    def _deactivate(self) -> None:
        self._active = False
        if self.job is not None:
            self.job.deactivate()

    def _dropping(self, topic: Topic, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            try:
                hear(message)
            except (ContractError, DataError) as error:
                self.sayer.say(topic.name, f"{topic.name}: dropped: {error}")

        return take

    def _leave(self, publisher: Any) -> None:
        """Destroy `publisher` once its readers have confirmed what it said last, at the latest after half a second."""
        publisher.wait_for_all_acked(Duration(seconds=0.5))
        self.destroy_publisher(publisher)

    def _judge(self, parameters: list[Any]) -> SetParametersResult:
        """Called for each set, and for each declaration, which is let through."""
        for parameter in parameters:
            if self.has_parameter(parameter.name) and (why := self._refusal(parameter.name, parameter.value)):
                return SetParametersResult(successful=False, reason=f"{parameter.name}: found {parameter.value!r}, {why}")
        return SetParametersResult(successful=True)

    def _refusal(self, name: str, value: Any) -> str:
        refusal = self._changing.get(name)
        if refusal is not None:
            too_long = not isinstance(value, str) or len(value) > TEXT_MOST
            return f"allowed a text of at most {TEXT_MOST} characters" if too_long else refusal(value)
        if self.job is None:
            return ""
        allowed = f"allowed to change while the node is configured: {', '.join(self._changing) or 'nothing'}"
        return f"{allowed}; next: end the node and start it with -p {name}:=VALUE"

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


def _unpacking(typename: str, hear: Callable[[Any], None]) -> Callable[[bytes], None]:
    """Pictures are taken as bytes, in which rosbags finds the pixels; rclpy would copy them into a message first."""
    from robot_stack.data.rosbags_messages import deserialize_cdr, typestore

    typestore()  # takes its time once: now, not at the first picture
    return lambda data: hear(deserialize_cdr(data, typename))


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
        node.breathe()
    if node.fault is not None:
        node.get_logger().fatal(f"ends: {''.join(traceback.format_exception(node.fault))}")
    executor.remove_node(node)
    return 0 if node.fault is None else 1
