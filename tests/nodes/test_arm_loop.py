"""The control loop of arm_node with the real safety layer and an arm that does as told."""

import time

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.errors import DriverError
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.types import (
    ActionChunk,
    Decision,
    FailureScore,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    SafeCommand,
    Step,
)
from safety.layer import SafetyLayer
from tests.nodes.well_graph import everybody_speaks

ROBOT = load_robot("sim_arm")
HOME = np.array(ROBOT.q_home)


class ObedientArm:
    """An Arm that is where it was told to be; `gone` makes it a device that was unplugged."""

    joint_names = ROBOT.joint_names

    def __init__(self) -> None:
        self.gone = False
        self.sent: list[SafeCommand] = []

    def read(self) -> JointState:
        if self.gone:
            raise DriverError("arm: unplugged; plug it in and restart arm_node")
        at = self.sent[-1] if self.sent else JointCommand(0, HOME)
        return JointState(time.monotonic_ns(), at.q, np.zeros(HOME.size) if at.qd is None else at.qd)

    def send(self, command: SafeCommand) -> None:
        if self.gone:
            raise DriverError("arm: unplugged; plug it in and restart arm_node")
        self.sent.append(command)

    def close(self) -> None:
        self.gone = True


@pytest.fixture
def arm() -> ObedientArm:
    return ObedientArm()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def steps() -> list[Step]:
    return []


@pytest.fixture
def loop(arm: ObedientArm, said: list[str], steps: list[Step]) -> ArmLoop:
    return ArmLoop(arm, SafetyLayer(ROBOT, SafetySettings()), steps.append, said.append)


def chunk(source: str = "flow") -> ActionChunk:
    now = time.monotonic_ns()
    rows = np.tile(HOME, (16, 1))
    rows[:, 0] += np.linspace(0.0, 0.1, 16)
    return ActionChunk(now, now, 50_000_000, rows, source)


def tick(loop: ArmLoop, request: Request | None = None) -> tuple[bool, str]:
    question = loop.ask(request) if request else None
    everybody_speaks(loop.inbox, HOME)
    loop.tick(0)
    return question.wait() if question else (True, "")


def test_it_starts_disarmed_and_holds_the_arm_where_it_is(loop: ArmLoop, arm: ObedientArm, steps: list[Step]) -> None:
    tick(loop)
    assert steps[0].verdict.mode is Mode.DISARMED
    assert np.array_equal(arm.sent[0].q, HOME)


def test_each_tick_sends_one_command_and_reports_one_step(loop: ArmLoop, arm: ObedientArm, steps: list[Step]) -> None:
    for _ in range(5):
        tick(loop)
    assert len(arm.sent) == len(steps) == 5
    assert all(step.verdict.command is sent for step, sent in zip(steps, arm.sent, strict=True))


def test_arming_is_granted_by_the_very_next_tick_once_nothing_is_lacking(loop: ArmLoop) -> None:
    tick(loop)
    granted, why = tick(loop, Request.ARM_POLICY)
    assert granted and why.startswith("policy because operator")


def test_arming_with_nobody_there_is_refused_with_what_is_lacking(loop: ArmLoop) -> None:
    question = loop.ask(Request.ARM_POLICY)
    loop.tick(0)
    granted, why = question.wait()
    assert not granted
    assert Reason.NOT_READY.value in why and Reason.MONITOR_SILENT.value in why and Reason.FALLBACK_SILENT.value in why


def test_a_request_nobody_takes_can_be_withdrawn_and_a_taken_one_cannot(loop: ArmLoop) -> None:
    question = loop.ask(Request.ARM_POLICY)
    granted, why = question.wait()
    assert not granted and "no answer" in why
    assert loop.withdraw(question) and not loop.withdraw(question)


def test_only_the_chunk_of_the_armed_source_is_taken(loop: ArmLoop, steps: list[Step]) -> None:
    tick(loop)
    tick(loop, Request.ARM_POLICY)
    ours, human = chunk(), chunk("teleop")
    loop.inbox.put_chunk(human)
    loop.inbox.put_chunk(ours)
    tick(loop)
    assert steps[-1].inputs.chunk is ours


def test_an_alarm_is_not_overwritten_by_a_calm_score_of_the_same_tick(loop: ArmLoop, steps: list[Step]) -> None:
    tick(loop)
    tick(loop, Request.ARM_POLICY)
    now = time.monotonic_ns()
    loop.inbox.put_score(FailureScore(now, 0.0, 1.0, "frozen scene"))
    tick(loop)
    assert steps[-1].verdict.mode is Mode.FALLBACK and Reason.MONITOR_ALARM in steps[-1].mode_cause


def test_an_unplugged_arm_is_said_and_stops_the_loop_without_ending_it(
    loop: ArmLoop, arm: ObedientArm, said: list[str], steps: list[Step]
) -> None:
    tick(loop)
    tick(loop, Request.ARM_POLICY)
    arm.gone = True
    deadline = time.monotonic() + 30.0
    while steps[-1].verdict.mode is not Mode.STOP and time.monotonic() < deadline:
        loop.inbox.put_chunk(chunk())
        tick(loop)
    assert steps[-1].verdict.mode is Mode.STOP and steps[-1].verdict.decision is Decision.STOP
    assert "unplugged" in said[0]
    assert tick(loop, Request.RESET)[0]


def test_nothing_is_decided_before_the_arm_has_said_where_it_is(loop: ArmLoop, arm: ObedientArm, steps: list[Step]) -> None:
    arm.gone = True
    loop.tick(0)
    assert not steps
    arm.gone = False
    loop.tick(0)
    assert len(steps) == 1


def test_no_request_answers_for_another(loop: ArmLoop) -> None:
    tick(loop)
    assert tick(loop, Request.STOP)[0]
    assert not tick(loop, Request.ARM_POLICY)[0]
    assert tick(loop, Request.RESET)[0]
    assert tick(loop, Request.ARM_TELEOP)[0]
    assert tick(loop, Request.DISARM)[0]
