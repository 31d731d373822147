"""Owns the arm and the filter: one thread on absolute deadlines decides, commands and publishes; ROS only fills its inbox."""

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO, Any

from std_srvs.srv import Trigger

from robot_stack import build
from robot_stack.clock import NS_PER_S
from robot_stack.data.wire import command_value, hazards_value, score_value, to_message
from robot_stack.device import ServoBus
from robot_stack.diagnostics import Level, Reading, ServoState, servo_reading
from robot_stack.errors import DriverError
from robot_stack.exclusive import hold, holder
from robot_stack.graph import (
    COMMAND,
    FALLBACK_COMMAND,
    HAZARDS,
    JOINTS,
    POLICY_CHUNK,
    SCORE,
    STOP_ALL,
    TELEOP_CHUNK,
    VERDICT,
    Topic,
)
from robot_stack.interfaces import Arm, Safety
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.realtime import collect, give_back_the_collector, lock_memory, own_the_collector, publish_aside, stand_by
from robot_stack.seal import WITH_PERMIT
from robot_stack.types import ARMED, Mode, Request, Step

BRAKE_S = 2.0
"""The longest the arm may take to come to rest when the node ends."""
ARMS = {Mode.POLICY.value: Request.ARM_POLICY, Mode.TELEOP.value: Request.ARM_TELEOP}
"""What `~/arm` asks for, by the parameter `mode`."""
LEVELS = {Mode.FALLBACK: Level.WARN, Mode.STOP: Level.ERROR}


class ArmJob:
    """The control loop between its topics and services. Raises DriverError when another arm_node has this arm.

    The parameter `mode` (policy, teleop) says who moves the arm when it is armed by `~/arm`; set while armed, it changes hands.
    """

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._node = node
        self._names = run.robot.joint_names
        self._sayer = node.sayer
        self._bus = run.robot.bus
        safety: Safety = build.safety(run)
        self._claim = _claim(run.arm_key)
        try:
            self._arm: Arm = build.arm(run)
        except BaseException:
            self._claim.close()
            raise
        self._loop = ArmLoop(self._arm, safety, self._publish, lambda text: self._sayer.leave("arm", text))
        self._period_ns = run.robot.dt_ns
        self._active = False
        self._fifo = run.settings.fifo_priority > 0
        self._ticks, self._rate = 0, round(NS_PER_S / self._period_ns)
        self._thread = node.loop("control", self._period_ns, self._tick, run.settings.fifo_priority, run.settings.cpu)
        said = (JOINTS, COMMAND, VERDICT)
        self._out = {topic: node.publisher(topic) for topic in said}
        self._listen(node)
        for request in Request:
            node.serve(Trigger, f"~/{request.value}", self._answer_with(partial(Request, request)))
        node.text("mode", Mode.POLICY.value if run.bundle else Mode.TELEOP.value, self._mode_refusal)
        node.serve(Trigger, "~/arm", self._answer_with(lambda: ARMS[node.text("mode")]))
        node.subscribe(STOP_ALL, lambda _: self._stop_all())
        node.health.watch(lambda *_: self._readings())

    def activate(self) -> None:
        """Start the loop, DISARMED: it measures and publishes, nothing moves."""
        memory = lock_memory()
        own_the_collector()
        if self._fifo:
            stand_by(True)
        self._thread.start()
        self._active = True
        said = f"{self._thread.said}, {memory}{'' if self._loop.sends else ', in shadow: nothing is sent to the arm'}"
        self._node.get_logger().info(f"control loop at {self._rate} Hz, {said}")

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
        if self._fifo:
            stand_by(False)
        give_back_the_collector()

    def close(self) -> None:
        """Leave the arm holding where it is, for another arm_node to take."""
        self._arm.close()
        self._claim.close()

    def _tick(self, lateness_ns: int) -> None:
        self._loop.tick(lateness_ns)
        self._ticks += 1
        if self._ticks % self._rate == 0:
            collect(self._loop.at_rest())

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
            node.subscribe(topic, take)

    def _answer_with(self, asked: Callable[[], Request]) -> Callable[[Any, Any], Any]:
        def answer(_: Any, response: Any) -> Any:
            response.success, response.message = self._ask(asked())
            return response

        return answer

    def _ask(self, request: Request) -> tuple[bool, str]:
        """Granted or not by the next tick, and why."""
        if not self._active:
            return False, f"{request.value}: arm_node is not active; activate it first"
        if request in WITH_PERMIT and (why := self._node.door.refuses(request.value)):
            self._sayer.say("permit", why)
            return False, why
        question = self._loop.ask(request)
        granted, why = question.wait()
        withdrawn = question.step is None and self._loop.withdraw(question)
        return granted, f"{why} (the request was withdrawn)" if withdrawn else why

    def _stop_all(self) -> None:
        """Somebody stops every arm of the domain: no permit is asked for, as for any stop."""
        if self._active:
            self._loop.ask(Request.STOP)

    def _mode_refusal(self, mode: str) -> str:
        """Why the arm may not be in the hands of `mode`; an armed one changes hands at once, or this says what is lacking."""
        if mode not in ARMS:
            return f"allowed {', '.join(ARMS)}"
        now = self._loop.state.mode
        if not self._active or now not in ARMED or now.value == mode:
            return ""
        granted, why = self._ask(ARMS[mode])
        return "" if granted else why

    def _readings(self) -> Iterable[Reading]:
        """The mode, and the servos of an arm that has some. Asked by the main loop, not by the control loop."""
        mode = self._loop.state.mode
        yield Reading("mode", LEVELS.get(mode, Level.OK), mode.value, {"scheduling": self._thread.said})
        yield from servo_readings(self._arm, self._bus)

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


def servo_readings(arm: Any, bus: ServoBus) -> Iterable[Reading]:
    """How the servos of `arm` on `bus` are; nothing for an arm that has none to tell of."""
    if (health := getattr(arm, "health", None)) is not None:
        servos = [ServoState(s.joint, s.age_s, s.missed, *_heat(s.reading)) for s in health()]
        yield servo_reading(servos, bus.hot, bus.lost_s)


def _heat(reading: Any) -> tuple[float | None, tuple[str, ...]]:
    return (None, ()) if reading is None else (reading.temperature, reading.faults)


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


def make_job(node: ManagedNode) -> ArmJob:
    """The job of an arm_node configured by its run file."""
    return ArmJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    publish_aside()
    sys.exit(run_node("arm_node", make_job))
