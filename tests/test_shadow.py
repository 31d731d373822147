"""Shadow mode: all of arm_node's loop runs and is logged, and the arm cannot be told anything."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_stack import build
from robot_stack.bringup import resolve
from robot_stack.config.commands import ReplayCommand, RunCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.replay.command import replay
from robot_stack.replay.verdicts import replay_verdicts, safety_of
from robot_stack.replay.views import episode_view
from robot_stack.shadow import ShadowArm
from robot_stack.types import ActionChunk, JointCommand, JointState, Mode, Request, SafeCommand, Step
from safety.layer import SafetyLayer
from tests.nodes.well_graph import everybody_speaks

ROBOT = load_robot("sim_arm")
HOME = np.array(ROBOT.q_home)
WAY = np.linspace(0.0, 0.02, 16)


class MovedByOthers:
    """An Arm that somebody else moves slowly along its first joint, and that must not be sent anything."""

    joint_names = ROBOT.joint_names

    def __init__(self) -> None:
        self.reads, self.closed = 0, False

    def read(self) -> JointState:
        self.reads += 1
        q, qd = HOME.copy(), np.zeros(HOME.size)
        q[0], qd[0] = HOME[0] - 0.001 * self.reads, -0.1
        return JointState(time.monotonic_ns(), q, qd)

    def send(self, command: SafeCommand) -> None:
        raise AssertionError("a command was sent to the arm")

    def close(self) -> None:
        self.closed = True


def shadowed(steps: list[Step], arm: MovedByOthers, ticks: int = 40) -> ArmLoop:
    """The loop after `ticks` in which everybody spoke, armed at the second, with a policy that wants to go the other way."""
    loop = ArmLoop(ShadowArm(arm), SafetyLayer(ROBOT, SafetySettings()), steps.append, lambda text: None)
    for i in range(ticks):
        now = everybody_speaks(loop.inbox, HOME)
        if i == 1:
            loop.ask(Request.ARM_POLICY)
        if i > 1:
            rows = np.tile(steps[-1].inputs.joints.q, (16, 1)) + WAY[:, None] * np.eye(HOME.size)[0]
            loop.inbox.put_chunk(ActionChunk(now, now, 50_000_000, rows, "flow"))
        loop.tick(0)
    return loop


def test_every_tick_is_decided_and_none_is_sent() -> None:
    steps: list[Step] = []
    arm = MovedByOthers()
    loop = shadowed(steps, arm)
    assert len(steps) == 40 and not loop.sends
    assert steps[-1].verdict.mode is Mode.POLICY and steps[-1].verdict.proposed is not None


def test_each_tick_goes_on_from_where_the_arm_is_not_from_the_command_nobody_sent() -> None:
    steps: list[Step] = []
    loop = shadowed(steps, MovedByOthers())
    measured = steps[-1].inputs.joints
    assert loop.state.commanded is not None and measured is not None
    assert np.array_equal(loop.state.commanded.q, measured.q) and np.array_equal(loop.state.commanded.qd, measured.qd)
    assert np.abs(steps[-1].verdict.command.q - measured.q).max() < 0.01 < HOME[0] - measured.q[0]


def test_a_shadow_arm_has_nothing_to_send_with_and_is_given_back() -> None:
    arm = MovedByOthers()
    shadow = ShadowArm(arm)
    kept = vars(shadow).values()
    assert arm.send not in kept and arm not in kept
    shadow.send(SafeCommand(JointCommand(0, HOME)))
    shadow.close()
    assert arm.closed


@pytest.mark.parametrize("shadow", [False, True])
def test_a_run_in_shadow_gets_a_shadow_arm_whatever_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shadow: bool
) -> None:
    run = resolve(RunCommand(bundle="some/bundle", shadow=shadow), tmp_path)
    build.save(run, tmp_path / "run.yaml")
    monkeypatch.setattr(build, "_real_arm", lambda run: MovedByOthers())
    arm = build.arm(build.load(tmp_path / "run.yaml"))
    assert isinstance(arm, ShadowArm) is shadow


def test_a_shadow_log_says_so_and_replays_bit_equal(tmp_path: Path) -> None:
    steps: list[Step] = []
    shadowed(steps, MovedByOthers(), ticks=120)
    metadata = LogMetadata("sim_arm", ROBOT.joint_names, settings={"safety": SafetySettings(), "policy": {"shadow": True}})
    for name, said in (("shadow", metadata), ("sent", replace(metadata, settings={"safety": SafetySettings()}))):
        with LogWriter(tmp_path / name, said) as writer:
            for step in steps:
                if step.inputs.chunk is not None:
                    writer.write_value("/policy/chunk", step.t_ns, step.inputs.chunk)
                writer.write_value("/arm/verdict", step.t_ns, step)
    said_of_it = replay(ReplayCommand(log=str(tmp_path / "shadow")))
    assert "120 of 120 verdicts bit-equal" in said_of_it and said_of_it.endswith("in shadow: nothing was sent")
    sent = read_log(tmp_path / "sent")
    assert not replay_verdicts(sent, safety_of(sent)).ok, "the two differ: a tick in shadow knows no command before it"
    assert episode_view(read_log(tmp_path / "shadow")).shadow and not episode_view(sent).shadow
