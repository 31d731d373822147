"""Owns the arm and the filter: one thread on absolute deadlines decides, commands and publishes; ROS only fills its inbox."""

import gc
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from std_srvs.srv import Trigger

from robot_stack import build
from robot_stack.data.wire import command_value, hazards_value, score_value, to_message
from robot_stack.errors import ContractError, DriverError
from robot_stack.exclusive import hold, holder
from robot_stack.graph import COMMAND, FALLBACK_COMMAND, HAZARDS, JOINTS, POLICY_CHUNK, SCORE, TELEOP_CHUNK, VERDICT, Topic
from robot_stack.interfaces import Arm, Safety
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.periodic import Periodic
from robot_stack.nodes.sayer import Sayer
from robot_stack.types import Request, Step

BRAKE_S = 2.0
"""The longest the arm may take to come to rest when the node ends."""


class ArmJob:
    """The control loop between its topics and services. Raises DriverError when another arm_node has this arm."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._node = node
        self._names = run.robot.joint_names
        self._sayer = Sayer(node.get_logger())
        safety: Safety = build.safety(run)
        self._claim = _claim(run.arm_key)
        try:
            self._arm: Arm = build.arm(run)
        except BaseException:
            self._claim.close()
            raise
        self._loop = ArmLoop(self._arm, safety, self._publish, lambda text: self._sayer.say("arm", text))
        self._period_ns = run.robot.dt_ns
        self._active = False
        self._thread = Periodic("control", self._period_ns, self._loop.tick, node.fail, run.settings.fifo_priority)
        said = (JOINTS, COMMAND, VERDICT)
        self._out = {topic: node.publisher(topic) for topic in said}
        self._listen(node)
        for request in Request:
            node.serve(Trigger, f"~/{request.value}", self._answer_with(request))

    def activate(self) -> None:
        """Start the loop, DISARMED: it measures and publishes, nothing moves."""
        sys.setswitchinterval(0.0005)
        gc.collect()
        gc.freeze()
        self._thread.start()
        self._active = True
        said = self._thread.said if self._loop.sends else f"{self._thread.said}, in shadow: nothing is sent to the arm"
        self._node.get_logger().info(f"control loop at {1e9 / self._period_ns:.0f} Hz, {said}")

    def deactivate(self) -> None:
        """Bring the arm to rest through the filter, then stop the loop."""
        if not self._active:
            return
        self._active = False
        if self._node.fault is None:
            self._loop.ask(Request.DISARM)
            _wait_until(self._rests, BRAKE_S)
        self._thread.stop()
        if self._node.fault is not None:
            self._brake_after_fault()

    def close(self) -> None:
        """Leave the arm holding where it is, for another arm_node to take."""
        self._arm.close()
        self._claim.close()

    def _rests(self) -> bool:
        return not self._loop.inbox.asked and self._loop.at_rest()

    def _brake_after_fault(self) -> None:
        """The loop died of an unexpected exception: STOP through the same filter, from this thread; else the driver holds."""
        self._loop.ask(Request.STOP)
        deadline = time.monotonic() + BRAKE_S
        try:
            while time.monotonic() < deadline:
                self._loop.tick(0)
                if self._rests():
                    return
                time.sleep(self._period_ns / 1e9)
        except Exception as error:
            self._node.get_logger().fatal(f"braking failed too: {error!r}; the driver holds the arm where it is")

    def _listen(self, node: ManagedNode) -> None:
        inbox = self._loop.inbox
        readers: tuple[tuple[Topic, Callable[[Any], None]], ...] = (
            (POLICY_CHUNK, lambda m: inbox.put_chunk_message(m, self._names, human=False)),
            (TELEOP_CHUNK, lambda m: inbox.put_chunk_message(m, self._names, human=True)),
            (FALLBACK_COMMAND, lambda m: inbox.fallback.append(command_value(m, self._names))),
            (SCORE, lambda m: inbox.put_score(score_value(m))),
            (HAZARDS, lambda m: inbox.hazards.append(hazards_value(m))),
        )
        for topic, take in readers:
            node.subscribe(topic, self._guarded(topic.name, take))

    def _guarded(self, topic: str, take: Callable[[Any], None]) -> Callable[[Any], None]:
        """A message that is no value is said and dropped; whoever sent it counts as silent."""

        def guarded(message: Any) -> None:
            try:
                take(message)
            except ContractError as error:
                self._sayer.say(topic, f"{topic}: dropped: {error}")

        return guarded

    def _answer_with(self, request: Request) -> Callable[[Any, Any], Any]:
        def answer(_: Any, response: Any) -> Any:
            if not self._active:
                response.success, response.message = False, f"{request.value}: arm_node is not active; activate it first"
                return response
            question = self._loop.ask(request)
            response.success, response.message = question.wait()
            if question.step is None and self._loop.withdraw(question):
                response.message += " (the request was withdrawn)"
            return response

        return answer

    def _publish(self, step: Step) -> None:
        if step.inputs.joints is not None:
            self._out[JOINTS].publish(to_message(step.inputs.joints, make, self._names))
        if self._loop.sends:
            self._out[COMMAND].publish(to_message(step.verdict.command, make, self._names))
        self._out[VERDICT].publish(to_message(step, make))


def _claim(key: str) -> IO[str]:
    claim = hold(f"arm_{key}")
    if claim is None:
        raise DriverError(f"arm {key}: process {holder(f'arm_{key}')} has it, allowed one arm_node an arm; stop that one first")
    return claim


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def make_job(node: ManagedNode) -> ArmJob:
    """The job of an arm_node configured by its run file."""
    return ArmJob(node, build.load(node.text("config")))


if __name__ == "__main__":
    sys.exit(run_node("arm_node", make_job))
