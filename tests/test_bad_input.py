"""Bad input through the whole path on a virtual clock: message, value, `control_step`, command, with monitor and fallback.

Each of it ends in a safe mode within the stated time. The same on the real graph, with real processes that are killed:
`tests/nodes/test_graph_runs.py` and `tests/faults/`. Bundles: `tests/policies/test_bundle.py`; logs: `tests/data/test_log.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_stack import cli
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import MonitorSettings, SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.data.rosbags_messages import make
from robot_stack.data.wire import to_message
from robot_stack.errors import ContractError
from robot_stack.nodes.arm_loop import Inbox
from robot_stack.types import ActionChunk, CameraFrame, Decision, Hazards, JointState, Mode, Reason, Request, Step, TickInputs
from safety.fallback import BrakeAndRetreat
from safety.layer import SafetyLayer
from safety.monitor import Monitor

SPEC = load_robot("sim_arm")
SAFETY, MONITOR = SafetySettings(), MonitorSettings()
MS = 1_000_000
BEGIN = 10_000 * MS
GOLDEN = Path(__file__).resolve().parent / "golden" / "frozen" / "frozen_0.mcap"


class Bench:
    """arm_node, policy, fallback and monitor as ticks of one loop: a joint moves until `fault` says what goes wrong."""

    def __init__(self) -> None:
        self.now, self.state = BEGIN, ControlState()
        self.inbox = Inbox()
        self.layer, self.fallback, self.monitor = SafetyLayer(SPEC, SAFETY), BrakeAndRetreat(SPEC, SAFETY), Monitor(MONITOR, SPEC)
        self.watched, self.frames = self.monitor.start(), dict[str, CameraFrame]()
        self.pictures = np.random.default_rng(0)
        self.joints_late_ns = 0
        self.missing: set[str] = set()
        self.say: Callable[[], Any] | None = self.good

    def good(self) -> Any:
        """The message of a chunk that moves the base by 0.2 rad/s from where it is."""
        q = np.array(SPEC.q_home) if self.state.commanded is None else self.state.commanded.q
        rows = q + np.linspace(0.0, 0.15, 16)[:, None] * np.eye(7)[0]
        return to_message(ActionChunk(self.now, self.now, 50 * MS, rows, "policy"), make, SPEC.joint_names)

    def tick(self, number: int, request: Request | None = None) -> Step:
        self.now += SPEC.dt_ns
        if number % 10 == 0 and self.say is not None:
            try:
                self.inbox.put_chunk_message(self.say(), SPEC.joint_names, human=False)
            except ContractError:
                pass  # arm_node says it and goes on
        chunk = self.inbox.policy_chunk.popleft() if self.inbox.policy_chunk else None
        refused = self.inbox.refused.popleft() if self.inbox.refused else None
        joints = self._joints()
        inputs = TickInputs(
            joints=joints,
            chunk=chunk,
            fallback=self.fallback.command(joints, self.now),
            score=self._score() if number % 7 == 0 else None,
            hazards=Hazards(self.now, [[0.6, 0.5, 0.1]], [0.05], [0.003], [0.05]),
            request=request,
            refused=refused,
        )
        self.state, step = control_step(self.state, inputs, self.now, 0, self.layer)
        assert np.isfinite(step.verdict.command.q).all() and np.isfinite(step.verdict.command.qd).all()
        return step

    def moving(self) -> "Bench":
        """Armed, with the policy moving the arm."""
        steps = [self.tick(i, Request.ARM_POLICY if i == 1 else None) for i in range(60)]
        assert steps[-1].verdict.mode is Mode.POLICY and np.abs(steps[-1].verdict.command.qd).max() > 0.05
        return self

    def run(self, seconds: float) -> list[Step]:
        return [self.tick(i) for i in range(round(seconds * SPEC.control_rate_hz))]

    def _joints(self) -> JointState:
        if self.state.commanded is None:
            return JointState(self.now, SPEC.q_home, np.zeros(7))
        return JointState(self.now - self.joints_late_ns, self.state.commanded.q, self.state.commanded.qd)

    def _score(self) -> Any:
        for camera in {c.name for c in SPEC.cameras} - self.missing:
            rgb = self.pictures.integers(80, 160, (128, 128, 3), dtype=np.uint8)
            self.frames[camera] = CameraFrame(camera, self.now, rgb)
        self.watched, score = self.monitor.update(self.watched, self.frames, self.now)
        return score


def since(steps: list[Step], mode: Mode) -> float:
    """When `mode` first came, s after the first of `steps`."""
    return next((step.t_ns - steps[0].t_ns) / 1e9 for step in steps if step.verdict.mode is mode)


def reasons(steps: list[Step]) -> set[Reason]:
    return {violation.reason for step in steps for violation in step.verdict.violations}


def nan_chunk(bench: Bench) -> Any:
    message = bench.good()
    message.points[3].positions = np.full(7, np.nan)
    return message


def other_order(bench: Bench) -> Any:
    message = bench.good()
    message.joint_names = [*message.joint_names[1:], message.joint_names[0]]
    return message


def too_late(bench: Bench) -> Any:
    message = bench.good()
    message.header.stamp.sec -= 2
    return message


def nobody(bench: Bench) -> Any:
    raise ContractError("the policy process was killed")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (nan_chunk, Reason.CHUNK_NOT_FINITE),
        (other_order, Reason.CHUNK_JOINTS),
        (too_late, Reason.CHUNK_STALE),
        (nobody, None),
    ],
)
def test_a_policy_gone_bad_or_gone_is_named_and_ends_in_fallback_at_rest_and_then_a_stop(
    bad: Callable[[Bench], Any], reason: Reason | None
) -> None:
    bench = Bench().moving()
    bench.say = lambda: bad(bench)
    steps = bench.run(SAFETY.stop_after_s + 1.0)
    assert reason is None or reason in reasons(steps)
    assert since(steps, Mode.FALLBACK) <= SAFETY.policy_silent_s + 0.01
    assert since(steps, Mode.STOP) <= SAFETY.policy_silent_s + SAFETY.stop_after_s + 0.02
    still = [not step.verdict.command.qd.any() for step in steps]
    assert all(still[50:]), "not at rest 0.5 s after the last good chunk"


def test_one_bad_chunk_among_good_ones_does_not_disturb_the_motion() -> None:
    bench = Bench().moving()
    turns = iter((nan_chunk, Bench.good, other_order, Bench.good, too_late))
    bench.say = lambda: next(turns, Bench.good)(bench)
    steps = bench.run(1.0)
    assert {Reason.CHUNK_NOT_FINITE, Reason.CHUNK_JOINTS, Reason.CHUNK_STALE} <= reasons(steps)
    assert {step.verdict.mode for step in steps} == {Mode.POLICY}


def test_joint_states_that_arrive_late_hold_the_arm_and_far_too_late_stop_it() -> None:
    bench = Bench().moving()
    bench.joints_late_ns = 60 * MS
    held = bench.run(0.1)
    assert {step.verdict.mode for step in held} == {Mode.POLICY} and Reason.JOINTS_STALE in reasons(held)
    assert {step.verdict.decision for step in held} == {Decision.HOLD}
    bench.joints_late_ns = 210 * MS
    steps = bench.run(0.5)
    assert since(steps, Mode.STOP) == 0.0 and steps[0].mode_cause == (Reason.JOINTS_STALE,)
    bench.joints_late_ns = 0
    assert {step.verdict.mode for step in bench.run(0.5)} == {Mode.STOP}, "a stop latches"


@pytest.mark.parametrize("camera", ["scene", "wrist"])
def test_a_camera_that_goes_missing_ends_in_fallback_and_then_a_stop_however_well_the_policy_does(camera: str) -> None:
    bench = Bench().moving()
    bench.missing = {camera}
    steps = bench.run(SAFETY.stop_after_s + 1.5)
    assert since(steps, Mode.FALLBACK) <= MONITOR.frame_age_s + 0.15
    assert next(step for step in steps if step.mode_cause).mode_cause[0] is Reason.MONITOR_ALARM
    assert since(steps, Mode.STOP) <= MONITOR.frame_age_s + 0.15 + SAFETY.stop_after_s
    alarm = next(step.inputs.score for step in steps if step.inputs.score is not None and step.inputs.score.alarm)
    assert camera in alarm.cause


def test_a_camera_that_never_was_there_keeps_the_arm_disarmed() -> None:
    bench = Bench()
    bench.missing = {"wrist"}
    steps = [bench.tick(i, Request.ARM_POLICY if i == 8 else None) for i in range(20)]
    assert {step.verdict.mode for step in steps} == {Mode.DISARMED}
    assert Reason.MONITOR_ALARM in {reason for step in steps for reason in step.mode_cause}


def test_replay_of_a_log_cut_in_the_middle_compares_what_is_left_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = GOLDEN.read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    assert cli.main(["replay", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "bit-equal" in said and "not closed" in said
    (tmp_path / "cut.mcap").write_bytes(whole[:300])
    assert cli.main(["replay", str(tmp_path)]) == 2
    assert "cut too early" in capsys.readouterr().err
