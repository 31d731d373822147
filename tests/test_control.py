"""One tick after another through `control_step` with the real safety layer: who moves, and when it stops."""

from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.types import (
    ActionChunk,
    Decision,
    FailureScore,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    Step,
    TickInputs,
)
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings(policy_silent_s=0.30)
LAYER = SafetyLayer(SPEC, SETTINGS)
HOME = np.array(SPEC.q_home)
MS = 1_000_000


class Robot:
    """A healthy robot, tick by tick; keywords of `tick` replace what arrives."""

    def __init__(self) -> None:
        self.state, self.now = ControlState(), 1_000 * MS

    def tick(self, **arrives) -> Step:
        self.now += SPEC.dt_ns
        q = HOME if self.state.commanded is None else self.state.commanded.q
        healthy = TickInputs(
            joints=JointState(self.now, q, np.zeros(7)),
            fallback=JointCommand(self.now, q),
            score=FailureScore(self.now, 0.0, 1.0),
            hazards=Hazards(self.now, [[0.6, 0.5, 0.1]], [0.05], [0.003], [0.05]),
        )
        self.state, step = control_step(self.state, replace(healthy, **arrives), self.now, 0, LAYER)
        return step

    def chunk(self, source: str = "policy", goal: float = 0.2, rows: int = 16) -> ActionChunk:
        way = np.linspace(0.0, goal, rows)[:, None] * np.eye(7)[0]
        return ActionChunk(self.now, self.now, 50 * MS, HOME + way, source)

    def armed(self, request: Request = Request.ARM_POLICY) -> "Robot":
        self.tick()
        assert self.tick(request=request).mode_cause == (Reason.OPERATOR,)
        return self

    def until(self, mode: Mode, limit: int = 300, **arrives) -> tuple[int, Step]:
        for i in range(1, limit):
            step = self.tick(**arrives)
            if step.verdict.mode is mode:
                return i, step
        raise AssertionError(f"{mode} never came")


def _why(step: Step) -> set[Reason]:
    return {v.reason for v in step.verdict.violations}


def test_an_armed_arm_holds_until_the_first_chunk_and_then_follows_it() -> None:
    robot = Robot().armed()
    step = robot.tick()
    assert step.verdict.mode is Mode.POLICY and step.verdict.decision is Decision.HOLD and Reason.NO_COMMAND in _why(step)
    step = robot.tick(chunk=robot.chunk())
    assert step.verdict.proposed is not None
    for _ in range(40):
        step = robot.tick(chunk=robot.chunk() if robot.now % (100 * MS) == 0 else None)
    assert step.verdict.mode is Mode.POLICY and step.verdict.command.q[0] > 0.02


def test_a_policy_that_never_speaks_ends_in_fallback_and_then_in_stop() -> None:
    robot = Robot().armed()
    ticks, step = robot.until(Mode.FALLBACK)
    assert 29 <= ticks <= 32 and step.mode_cause == (Reason.POLICY_SILENT,)
    ticks, step = robot.until(Mode.STOP, limit=600)
    assert abs(ticks - 100 * SafetySettings().stop_after_s) <= 2 and step.mode_cause == (Reason.FALLBACK_TOO_LONG,)
    assert step.verdict.decision is Decision.STOP


def test_a_policy_that_dies_mid_motion_brakes_within_half_a_second() -> None:
    robot = Robot().armed()
    for i in range(30):
        robot.tick(chunk=robot.chunk(goal=1.0) if i % 10 == 0 else None)
    ticks, _ = robot.until(Mode.FALLBACK)
    assert ticks <= 31
    for _ in range(20):
        step = robot.tick()
    assert np.abs(step.verdict.command.qd).max() < 0.05


def test_joints_that_stay_away_make_the_arm_hold_and_then_stop() -> None:
    robot = Robot().armed()
    robot.tick(chunk=robot.chunk())
    steps = [robot.tick(joints=None) for _ in range(21)]
    held = [step.t_ns - steps[0].t_ns for step in steps if step.verdict.decision is Decision.HOLD]
    assert held[0] == 50_000_000 and [v.reason for v in steps[5].verdict.violations] == [Reason.JOINTS_STALE]
    assert steps[-1].verdict.mode is Mode.STOP and steps[-1].mode_cause == (Reason.JOINTS_STALE,)
    assert {step.verdict.mode for step in steps[:-1]} == {Mode.POLICY}


def test_an_arm_that_held_for_want_of_joints_goes_on_when_they_are_back() -> None:
    robot = Robot().armed()
    robot.tick(chunk=robot.chunk())
    away = [robot.tick(joints=None) for _ in range(10)]
    assert away[-1].verdict.decision is Decision.HOLD
    back = robot.tick()
    assert back.verdict.mode is Mode.POLICY and back.verdict.decision is not Decision.HOLD


def test_an_alarm_makes_the_arm_fall_back_and_quiet_lets_the_policy_resume() -> None:
    robot = Robot().armed()
    robot.tick(chunk=robot.chunk())
    step = robot.tick(score=FailureScore(robot.now, 2.0, 1.0, "camera_frozen"))
    assert step.verdict.mode is Mode.FALLBACK and step.mode_cause == (Reason.MONITOR_ALARM,)
    for i in range(100):
        step = robot.tick(chunk=robot.chunk() if i % 10 == 0 else None)
        if step.verdict.mode is Mode.POLICY:
            break
    assert 49 <= i <= 51 and step.mode_cause == (Reason.RECOVERED,)


def test_a_human_taking_over_from_fallback_does_not_get_the_policys_chunk() -> None:
    robot = Robot().armed()
    robot.tick(chunk=robot.chunk(goal=2.0))
    robot.tick(score=FailureScore(robot.now, 2.0, 1.0))
    step = robot.tick(chunk=robot.chunk(goal=2.0), request=Request.ARM_TELEOP)
    assert step.verdict.mode is Mode.TELEOP and step.verdict.proposed is None
    assert robot.tick().verdict.decision is Decision.HOLD


@pytest.mark.parametrize(("request_", "source"), [(Request.ARM_POLICY, "teleop"), (Request.ARM_TELEOP, "policy")])
def test_chunks_of_the_other_source_do_not_move_the_arm(request_: Request, source: str) -> None:
    robot = Robot().armed(request_)
    assert robot.tick(chunk=robot.chunk(source)).verdict.proposed is None


def test_teleoperation_moves_the_arm_through_the_same_door() -> None:
    robot = Robot().armed(Request.ARM_TELEOP)
    assert robot.tick(chunk=robot.chunk("teleop")).verdict.proposed is not None


BAD = [
    (lambda r: ActionChunk(r.now, r.now, 50 * MS, np.full((4, 7), np.nan), "policy"), Reason.CHUNK_NOT_FINITE),
    (lambda r: ActionChunk(r.now, r.now, 50 * MS, np.zeros((4, 6)), "policy"), Reason.CHUNK_JOINTS),
    (lambda r: ActionChunk(r.now, r.now - 900 * MS, 50 * MS, np.zeros((4, 7)), "policy"), Reason.CHUNK_STALE),
    (lambda r: ActionChunk(r.now - 900 * MS, r.now, 50 * MS, np.zeros((4, 7)), "policy"), Reason.CHUNK_OUT_OF_ORDER),
]


@pytest.mark.parametrize(("make", "reason"), BAD)
def test_a_bad_chunk_is_refused_by_name_and_the_good_one_plays_on(make, reason: Reason) -> None:
    robot = Robot().armed()
    robot.tick(chunk=robot.chunk())
    playing = robot.state.chunks.playing
    step = robot.tick(chunk=make(robot))
    assert reason in _why(step) and robot.state.chunks.playing is playing and step.verdict.proposed is not None


def test_bad_chunks_do_not_keep_a_policy_alive() -> None:
    robot = Robot().armed()
    nan = ActionChunk(robot.now, robot.now, 50 * MS, np.full((4, 7), np.nan), "policy")
    ticks, step = robot.until(Mode.FALLBACK, chunk=nan)
    assert ticks <= 32 and step.mode_cause == (Reason.POLICY_SILENT,)


def test_what_was_refused_at_the_door_is_in_the_verdict() -> None:
    assert Reason.CHUNK_MALFORMED in _why(Robot().armed().tick(refused=Reason.CHUNK_MALFORMED))


def test_the_operator_stops_the_arm_at_once_and_only_reset_and_arming_move_it_again() -> None:
    robot = Robot().armed()
    robot.tick(chunk=robot.chunk())
    assert robot.tick(request=Request.STOP).verdict.decision is Decision.STOP
    assert robot.tick(request=Request.ARM_POLICY).mode_cause == (Reason.NOT_READY, Reason.STOPPED)
    assert robot.tick(request=Request.RESET).verdict.mode is Mode.DISARMED
    step = robot.tick(request=Request.ARM_POLICY)
    assert step.verdict.mode is Mode.POLICY and step.verdict.proposed is None


def test_a_silent_fallback_in_fallback_brakes() -> None:
    robot = Robot().armed()
    robot.until(Mode.FALLBACK)
    for _ in range(12):
        step = robot.tick(fallback=None)
    assert Reason.FALLBACK_SILENT in _why(step) and step.verdict.decision is Decision.HOLD


def test_the_same_inputs_give_the_same_bits() -> None:
    runs = []
    for _ in range(2):
        robot = Robot().armed()
        runs.append([robot.tick(chunk=robot.chunk() if i % 7 == 0 else None).verdict.command.q.tobytes() for i in range(60)])
    assert runs[0] == runs[1]


def test_the_verdict_says_when_and_for_whom() -> None:
    robot = Robot()
    step = robot.tick()
    assert (step.t_ns, step.verdict.t_ns, step.verdict.command.t_ns) == (robot.now,) * 3
    assert step.verdict.mode is Mode.DISARMED and Reason.DISARMED in _why(step)
