"""Faults of a servo bus: an SO-101 on simulated servos at a pseudo-terminal, arm_node's loop and the safety layer as shipped.

Everybody else in the graph is well; a policy moves the elbow to and fro. Each trial connects anew: a servo that was lost is lost
for good.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from robot_stack.clock import seconds
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.data.wire_step import sentence
from robot_stack.errors import RobotStackError
from robot_stack.faults.judge import out_of_limits
from robot_stack.faults.table import SILENT_S, TICKS, Expect, FaultCase, Means
from robot_stack.faults.trial import PATIENCE_S, Outcome, is_safe
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.nodes.periodic import Periodic
from robot_stack.types import ActionChunk, Mode, Reason, Request, Step
from safety.layer import SafetyLayer
from tests.nodes.well_graph import everybody_speaks

ELBOW, SERVO = 2, 3
KNOCK = 600
"""Ticks (of 4096 a turn) by which an encoder jumps."""
SETTLED_S = 1.0
TICKS_S = TICKS * load_robot("so101").dt_ns * 1e-9
_STOP, _STALE, _LOST = frozenset({Mode.STOP}), frozenset({Reason.JOINTS_STALE}), frozenset({Reason.TRACKING})
CASES = (
    FaultCase("servo_bus_lost", Means.ARM, Expect.SAFE, SILENT_S, "all", "no servo answers", 0, _STOP, _STALE),
    FaultCase("servo_lost", Means.ARM, Expect.SAFE, SILENT_S, "elbow_flex", "its servo does not answer", 0, _STOP, _STALE),
    FaultCase("servo_adapter_unplugged", Means.ARM, Expect.SAFE, SILENT_S, "all", "the port is gone", 0, _STOP, _STALE),
    FaultCase(
        "servo_encoder_jumps", Means.ARM, Expect.SAFE, TICKS_S, "elbow_flex", "encoder jumps by", KNOCK, _STOP, _LOST, seen=True
    ),
    FaultCase(
        "servo_stuck", Means.ARM, Expect.SAFE, TICKS_S, "elbow_flex", "held by something", 0, frozenset(), _LOST, seen=True
    ),
)


class Cell:
    """arm_node's loop at its rate with an arm of simulated servos `servos`; every Step is kept."""

    def __init__(self, servos: Any) -> None:
        from tests.drivers.servo_rig import connect

        spec = load_robot("so101")
        self.spec = replace(spec, bus=replace(spec.bus, port=servos.path, p_gain=0))
        self.servos, self.steps, self.faults = servos, list[Step](), list[BaseException]()
        self.arm = connect(servos, self.spec)
        self.home = self.arm.read().q
        self.loop = ArmLoop(self.arm, SafetyLayer(self.spec, SafetySettings()), self.steps.append, lambda _: None)
        self._thread = Periodic("control", self.spec.dt_ns, self._tick, self.faults.append)
        self._ticks = 0
        self._thread.start()

    def close(self) -> None:
        """Stop the loop, leave the servos."""
        self._thread.stop()
        self.arm.close()

    def arm_it(self) -> None:
        """Let the policy move the elbow."""
        self.until(lambda: bool(self.steps))
        until_s = time.monotonic() + PATIENCE_S
        while not self.loop.ask(Request.ARM_POLICY).wait()[0]:
            if time.monotonic() > until_s:
                raise RobotStackError(f"servos: the arm could not be armed: {sentence(self.steps[-1])}")
        time.sleep(SETTLED_S)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait. Raises RobotStackError after PATIENCE_S."""
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > until_s or self.faults:
                raise RobotStackError(f"servos: nothing came of it; {self.faults or sentence(self.steps[-1])}")
            time.sleep(0.001)

    def _tick(self, lateness_ns: int) -> None:
        now = everybody_speaks(self.loop.inbox, self.home)
        if self._ticks % 10 == 0:
            times = seconds(now) + 0.05 * np.arange(16)
            rows = np.tile(self.home, (16, 1))
            rows[:, ELBOW] += 0.4 * np.sin(2.0 * math.pi * 0.4 * times)
            self.loop.inbox.put_chunk(ActionChunk(now, now, 50_000_000, rows, "flow"))
        self._ticks += 1
        self.loop.tick(lateness_ns)


def breaks(servos: Any, name: str) -> None:
    """Do what the case `name` says."""
    match name:
        case "servo_bus_lost":
            for servo in servos.servos.values():
                servo.dropped = True
        case "servo_lost":
            servos.servos[SERVO].dropped = True
        case "servo_adapter_unplugged":
            servos.close()
        case "servo_encoder_jumps":
            servos.servos[SERVO].encoder += KNOCK
        case "servo_stuck":
            servos.servos[SERVO].held = True


def servo_trial(case: FaultCase) -> tuple[Outcome, int, int]:
    """One fault: what came of it, how many commands there were, and how many of them out of limits.

    Raises ModuleNotFoundError without the extra `servos`.
    """
    from tests.drivers.servo_rig import ServoSimulator

    with closing(ServoSimulator("feetech")) as servos, closing(Cell(servos)) as cell:
        cell.arm_it()
        broken_ns = time.monotonic_ns()
        breaks(servos, case.name)
        cell.until(lambda: any(is_safe(case, s) for s in cell.steps[-20:] if s.t_ns > broken_ns))
        steps = list(cell.steps)
    step = next(s for s in steps if s.t_ns > broken_ns and is_safe(case, s))
    took_s = seconds(step.t_ns - (_shown(steps, broken_ns) if case.seen else broken_ns))
    outcome = Outcome(case.name, broken_ns, took_s, True, step.verdict.mode, sentence(step), ())
    return outcome, len(steps), out_of_limits(steps, cell.spec)


def _shown(steps: list[Step], broken_ns: int) -> int:
    """The first tick after `broken_ns` whose measured joints are not where the last command sent them."""
    limit = SafetySettings().tracking_limit
    for last, step in zip(steps, steps[1:], strict=False):
        joints = step.inputs.joints
        if step.t_ns > broken_ns and joints is not None and np.abs(joints.q - last.verdict.command.q).max() > limit:
            return step.t_ns
    return broken_ns
