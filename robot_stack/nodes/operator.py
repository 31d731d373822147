"""The operator's side of a running graph: ask arm_node and recorder_node, watch the verdicts. A ROS node inside any program."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_srvs.srv import Trigger

from robot_stack.data.wire import stamp_ns
from robot_stack.data.wire_step import sentence, step_value
from robot_stack.diagnostics import Reading
from robot_stack.errors import RobotStackError
from robot_stack.graph import ARM_NODE, DIAGNOSTICS, POLICY_NODE, RECORDER_NODE, STOP_ALL, VERDICT, within
from robot_stack.nodes.health import readings_of, status_array
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.participant import Participant
from robot_stack.nodes.qos import every
from robot_stack.seal import WITH_PERMIT, Keys, permit
from robot_stack.secure.enclaves import OPERATOR
from robot_stack.types import Mode, Request, Step

KEPT_STEPS = 500
"""How many verdicts are kept for `wait_for`: five seconds of them."""
ASK_AGAIN_S = 2.0
CLOSED_S = 70.0
"""recorder_node gives what it has heard a minute to get into the log before it closes it."""


class Operator:
    """Speaks to the graph in `namespace` of `domain` from a thread of its own. The discovery environment must be set: it is read
    once. Services and topics are called as without a namespace.

    With the `keys` of the run it may ask for anything, without them for nothing that lets the arm move.
    """

    def __init__(self, domain: int, keys: Keys | None = None, namespace: str = "") -> None:
        self._keys = keys
        self._namespace = namespace
        self._participant = Participant(OPERATOR, domain, namespace)
        self._node = self._participant.node
        self._clients: dict[str, Any] = {}
        self._verdicts: deque[Any] = deque(maxlen=KEPT_STEPS)
        self._arrived = threading.Condition()
        self._readings: dict[str, Reading] = {}
        self._participant.listen(VERDICT, self._take, every(VERDICT))
        self._participant.listen(DIAGNOSTICS, lambda m: self._readings.update(readings_of(m)), every(DIAGNOSTICS))
        self._said = self._node.create_publisher(message_class(DIAGNOSTICS.type), DIAGNOSTICS.name, every(DIAGNOSTICS))
        self._stops = self._node.create_publisher(message_class(STOP_ALL.type), STOP_ALL.name, every(STOP_ALL))
        self._participant.start()

    def request(self, request: Request, timeout_s: float = 5.0) -> tuple[bool, str]:
        """Ask arm_node for `request`: granted or not, and its reason."""
        if request in WITH_PERMIT and (texts := self._permit(ARM_NODE, request.value)):
            self.set_text(ARM_NODE, texts, timeout_s)
        return self.trigger(f"/{ARM_NODE}/{request.value}", timeout_s)

    def stop_all(self) -> None:
        """Stop every arm on this domain, in whatever namespace; each latches until it is reset."""
        self._stops.publish(message_class(STOP_ALL.type)())

    def set_mode(self, mode: Mode, timeout_s: float = 5.0) -> None:
        """Who moves the arm when it is armed, POLICY or TELEOP; at once if it is. RobotStackError with arm_node's reason."""
        request = Request.ARM_TELEOP if mode is Mode.TELEOP else Request.ARM_POLICY
        self.set_text(ARM_NODE, self._permit(ARM_NODE, request.value) | {"mode": mode.value}, timeout_s)

    def instruct(self, instruction: str, timeout_s: float = 5.0) -> None:
        """Tell the policy what to do from now on. Raises RobotStackError with policy_node's reason when it refuses."""
        texts = self._permit(POLICY_NODE, f"instruction {instruction}") | {"instruction": instruction}
        self.set_text(POLICY_NODE, texts, timeout_s)

    def readings(self) -> Mapping[str, Reading]:
        """What was last said on /diagnostics, by "node: part", of all arms on this domain."""
        return dict(self._readings)

    def tell(self, readings: Sequence[Reading]) -> None:
        """Say `readings` of the supervisor on /diagnostics."""
        speaker = within(self._namespace, "supervisor")[1:]
        self._said.publish(status_array(speaker, readings, time.monotonic_ns()))

    def trigger(self, service: str, timeout_s: float = 5.0) -> tuple[bool, str]:
        """Call a std_srvs/Trigger `service`. Raises RobotStackError when nobody answers."""
        response = self._call(Trigger, service, Trigger.Request(), timeout_s)
        return bool(response.success), str(response.message)

    def expect(self, *services: str) -> None:
        """Get to know the std_srvs/Trigger `services` now: the first call of each is then as quick as any."""
        for service in services:
            self._client(Trigger, service)

    def set_text(self, node: str, values: Mapping[str, str], timeout_s: float = 5.0) -> None:
        """Set text parameters of `node`. Raises RobotStackError with the node's reason when it refuses one."""
        parameters = [Parameter(name=name, value=_text(value)) for name, value in values.items()]
        request = SetParameters.Request(parameters=parameters)
        results = self._call(SetParameters, f"/{node}/set_parameters", request, timeout_s).results
        for name, result in zip(values, results, strict=True):
            if not result.successful:
                raise RobotStackError(f"{node}.{name}: refused: {result.reason}")

    def start_log(self, path: Path, scenario: str = "", timeout_s: float = 5.0) -> str:
        """Let recorder_node write a new log to `path`; the path it really writes. Raises RobotStackError when it refuses."""
        self.name_log(path, scenario, timeout_s)
        return self._granted(f"/{RECORDER_NODE}/start", timeout_s)

    def recorder_status(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """What recorder_node says of the log it writes and the topics it hears: `Recorder.status`, `unfound`, `heard_ns`."""
        status: dict[str, Any] = json.loads(self.trigger(f"/{RECORDER_NODE}/status", timeout_s)[1])
        return status

    def name_log(self, path: Path, scenario: str = "", timeout_s: float = 5.0) -> None:
        """Say where the next log goes, whoever starts it. Raises RobotStackError when recorder_node refuses."""
        texts = self._permit(RECORDER_NODE, f"path {path}") | {"path": str(path), "scenario": scenario}
        self.set_text(RECORDER_NODE, texts, timeout_s)

    def stop_log(self, timeout_s: float = CLOSED_S) -> str:
        """Let recorder_node close its log; what it says about it. Raises RobotStackError when it refuses."""
        return self._granted(f"/{RECORDER_NODE}/stop", timeout_s)

    def lifecycle_state(self, node: str, timeout_s: float = 5.0) -> str:
        """The lifecycle state of `node`: "active", "inactive", ... Raises RobotStackError when it does not answer.

        Asked again every ASK_AGAIN_S: DDS loses an answer whose sender has not yet discovered who asked.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            patience_s = min(ASK_AGAIN_S, max(0.0, deadline - time.monotonic()))
            try:
                return str(self._call(GetState, f"/{node}/get_state", GetState.Request(), patience_s).current_state.label)
            except RobotStackError:
                if time.monotonic() >= deadline:
                    raise

    def change_state(self, node: str, transition: int, timeout_s: float = 5.0) -> bool:
        """Ask `node` for a lifecycle transition (lifecycle_msgs/Transition); False when it refused."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._call(ChangeState, f"/{node}/change_state", request, timeout_s).success)

    def restart(self, node: str, timeout_s: float = 10.0) -> None:
        """Deactivate and activate `node` again. Raises RobotStackError when it refuses."""
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
            if not self.change_state(node, transition, timeout_s):
                state = self.lifecycle_state(node, timeout_s)
                raise RobotStackError(f"{node}: refused a restart, it is {state}; look at its log")

    def step(self) -> Step | None:
        """The newest verdict, without its chunk; None before the first."""
        with self._arrived:
            newest = self._verdicts[-1] if self._verdicts else None
        return None if newest is None else _step(newest)

    def wait_for(self, condition: Callable[[Step], bool], timeout_s: float, what: str = "", after_ns: int | None = None) -> Step:
        """The first tick later than `after_ns` (None: now) for which `condition` holds; none is skipped.

        `after_ns` may lie up to five seconds back. Raises RobotStackError, naming `what`, after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        seen_ns = time.monotonic_ns() if after_ns is None else after_ns
        while True:
            for message in self._later(seen_ns, deadline):
                step = _step(message)
                seen_ns = step.t_ns
                if condition(step):
                    return step
            if time.monotonic() > deadline:
                found = _last(self.step())
                raise RobotStackError(f"{what or 'the condition'}: not met within {timeout_s:.1f} s; {found}")

    def close(self) -> None:
        """Leave the graph."""
        self._participant.close()

    def _permit(self, node: str, action: str) -> dict[str, str]:
        """The parameter that lets `node` do `action` once; none without keys."""
        if self._keys is None:
            return {}
        return {"permit": permit(within(self._namespace, f"/{node}/{action}"), self._keys, time.monotonic_ns())}

    def _take(self, message: Any) -> None:
        with self._arrived:
            self._verdicts.append(message)
            self._arrived.notify_all()

    def _later(self, t_ns: int, deadline: float) -> list[Any]:
        """The verdicts stamped after `t_ns`, waiting for one until `deadline`."""
        with self._arrived:
            while not (found := [message for message in self._verdicts if stamp_ns(message) > t_ns]):
                if not self._arrived.wait(max(0.0, deadline - time.monotonic())):
                    break
            return found

    def _granted(self, service: str, timeout_s: float) -> str:
        success, message = self.trigger(service, timeout_s)
        if not success:
            raise RobotStackError(f"{service}: refused: {message}")
        return message

    def _client(self, kind: Any, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._node.create_client(kind, within(self._namespace, service))
        return self._clients[service]

    def _call(self, kind: Any, service: str, request: Any, timeout_s: float) -> Any:
        client = self._client(kind, service)
        deadline = time.monotonic() + timeout_s
        if not client.wait_for_service(timeout_sec=timeout_s):
            raise RobotStackError(f"{service}: no such service within {timeout_s:.1f} s; is its node running, on this domain?")
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(deadline - time.monotonic()):
            raise RobotStackError(f"{service}: no answer within {timeout_s:.1f} s; does its node hang?")
        return future.result()


def _text(value: str) -> Any:
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


def _step(message: Any) -> Step:
    return step_value(message, stamp_ns(message), None)


def _last(step: Step | None) -> str:
    if step is None:
        return "no verdict has arrived; is arm_node active?"
    return f"the last verdict is: {sentence(step)}"
