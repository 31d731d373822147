"""A human takes the arm from a running policy by the clutch and gives it back: in the loop of arm_node, and in the real graph."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.load import load
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import GIVE, HELD, TAKE, TELEOP_SOURCE, ControlState, handover
from robot_stack.errors import ConfigError
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.types import (
    ActionChunk,
    JointState,
    Mode,
    Reason,
    Request,
    SafeCommand,
    Step,
)
from safety.layer import SafetyLayer
from tests.drivers.teleop_rig import JoyRig
from tests.nodes.well_graph import everybody_speaks

if TYPE_CHECKING:
    from robot_stack.supervisor import Graph

ROBOT = load_robot("sim_arm")
HOME = np.array(ROBOT.q_home)
PATIENT = SafetySettings(
    policy_silent_s=9.0, monitor_silent_s=9.0, hazards_stale_s=9.0, fallback_silent_s=9.0, teleop_silent_s=9.0
)
PATIENCE_S = 60.0


def chunk(source: str, reach: float = 0.0) -> ActionChunk:
    now = time.monotonic_ns()
    return ActionChunk(now, now, 1_000_000_000, np.tile(HOME + np.where(np.arange(7) == 0, reach, 0.0), (9, 1)), source)


@pytest.mark.parametrize(
    ("mode", "resume", "source", "asked"),
    [
        (Mode.POLICY, Mode.DISARMED, TAKE, Request.ARM_TELEOP),
        (Mode.POLICY, Mode.DISARMED, HELD, Request.ARM_TELEOP),
        (Mode.POLICY, Mode.DISARMED, TELEOP_SOURCE, None),
        (Mode.POLICY, Mode.DISARMED, GIVE, None),
        (Mode.POLICY, Mode.DISARMED, "flow", None),
        (Mode.FALLBACK, Mode.POLICY, HELD, Request.ARM_TELEOP),
        (Mode.FALLBACK, Mode.TELEOP, TAKE, Request.ARM_TELEOP),
        (Mode.FALLBACK, Mode.TELEOP, HELD, None),
        (Mode.FALLBACK, Mode.TELEOP, GIVE, Request.ARM_POLICY),
        (Mode.TELEOP, Mode.DISARMED, TAKE, None),
        (Mode.TELEOP, Mode.DISARMED, GIVE, Request.ARM_POLICY),
        (Mode.DISARMED, Mode.DISARMED, TAKE, None),
        (Mode.DISARMED, Mode.DISARMED, GIVE, None),
        (Mode.STOP, Mode.DISARMED, TAKE, None),
        (Mode.STOP, Mode.DISARMED, GIVE, None),
    ],
)
def test_what_a_clutch_asks_for_depends_on_who_has_the_arm(mode: Mode, resume: Mode, source: str, asked: Request | None) -> None:
    assert handover(ControlState(mode=mode, resume=resume), chunk(source)) is asked


def test_silence_asks_for_nothing() -> None:
    assert handover(ControlState(mode=Mode.POLICY), None) is None


class Cell:
    """The loop of arm_node with an arm that is where it was sent, ticked by hand. The policy has it, everybody else is well."""

    joint_names = ROBOT.joint_names

    def __init__(self, teleop_silent_s: float = 9.0) -> None:
        self.q = HOME
        self.steps: list[Step] = []
        safety = SafetyLayer(ROBOT, replace(PATIENT, teleop_silent_s=teleop_silent_s))
        self.loop = ArmLoop(self, safety, self.steps.append, lambda _: None)
        self.tick()
        assert self.tick(request=Request.ARM_POLICY) is Mode.POLICY

    def read(self) -> JointState:
        return JointState(time.monotonic_ns(), self.q, np.zeros_like(self.q))

    def send(self, command: SafeCommand) -> None:
        self.q = command.q

    def close(self) -> None:
        """Nothing is open."""

    def tick(self, *chunks: ActionChunk, request: Request | None = None, alarm: bool = False) -> Mode:
        everybody_speaks(self.loop.inbox, self.q, score=2.0 if alarm else 0.0)
        for each in chunks:
            self.loop.inbox.put_chunk(each)
        if request is not None:
            self.loop.ask(request)
        self.loop.tick(0)
        return self.steps[-1].verdict.mode


@pytest.fixture
def cell() -> Cell:
    return Cell()


def test_the_clutch_takes_the_arm_in_the_tick_that_hears_it_and_the_log_says_who_moves_it(cell: Cell) -> None:
    policy, human = chunk("flow", -0.3), chunk(TAKE, 0.3)
    cell.tick(policy)
    assert cell.tick(policy, human) is Mode.TELEOP
    step = cell.steps[-1]
    assert step.inputs.request is Request.ARM_TELEOP and step.mode_cause == (Reason.OPERATOR,)
    held = chunk(HELD, 0.3)
    assert cell.tick(chunk("flow", -0.3), held) is Mode.TELEOP
    assert cell.steps[-1].inputs.chunk is held
    for _ in range(20):
        cell.tick()
    assert cell.q[0] > HOME[0] + 0.01, "the arm goes where the human wants it"


def test_given_back_the_policy_moves_the_arm_again(cell: Cell) -> None:
    cell.tick(chunk(TAKE, 0.3))
    assert cell.tick(chunk(GIVE)) is Mode.POLICY
    ours = chunk("flow", -0.3)
    cell.tick(ours)
    assert cell.steps[-1].inputs.chunk is ours


def test_let_go_the_arm_holds_until_the_human_confirms() -> None:
    cell = Cell(teleop_silent_s=0.05)
    cell.tick(chunk(TAKE, 0.3))
    end = time.monotonic() + PATIENCE_S
    while cell.tick(chunk("flow", -0.3)) is not Mode.FALLBACK:
        assert time.monotonic() < end
    q = cell.q
    assert cell.tick(chunk("flow", -0.3), chunk(GIVE)) is Mode.POLICY
    np.testing.assert_allclose(cell.q, q, atol=1e-3)


def test_a_held_clutch_is_not_given_an_arm_that_fell_back_a_new_press_is(cell: Cell) -> None:
    cell.tick(chunk(TAKE))
    assert cell.tick(chunk(HELD), alarm=True) is Mode.FALLBACK
    assert cell.tick(chunk(HELD)) is Mode.FALLBACK
    assert cell.tick(chunk(TAKE)) is Mode.TELEOP


def test_while_the_monitor_alarms_the_human_does_not_get_the_arm_and_is_told(cell: Cell) -> None:
    assert cell.tick(chunk(TAKE), alarm=True) is Mode.FALLBACK
    assert cell.tick(chunk(TAKE), alarm=True) is Mode.FALLBACK
    assert Reason.MONITOR_ALARM in cell.steps[-1].mode_cause
    assert cell.tick(chunk(HELD)) is Mode.TELEOP, "held on, it gets it once that is over"


def test_the_clutch_arms_no_disarmed_arm_and_leaves_no_stop(cell: Cell) -> None:
    assert cell.tick(chunk(TAKE), request=Request.DISARM) is Mode.DISARMED
    assert cell.tick(chunk(TAKE)) is Mode.DISARMED
    assert cell.tick(request=Request.STOP) is Mode.STOP
    assert cell.tick(chunk(TAKE)) is Mode.STOP


def test_the_operator_is_heard_before_the_clutch(cell: Cell) -> None:
    assert cell.tick(chunk(TAKE), request=Request.STOP) is Mode.STOP


@pytest.mark.parametrize(
    ("kind", "overrides", "named"),
    [
        (RunCommand, ["bundle=x", "teleop.kind=scripted"], "a script has no clutch"),
        (RunCommand, ["bundle=x", "teleop=leader"], "a leader arm needs a clutch"),
        (RecordCommand, ["robot=so101"], "found no human, allowed teleop=leader"),
        (RecordCommand, ["bundle=x", "teleop.kind=scripted"], "a script has no clutch"),
    ],
)
def test_a_human_who_could_not_let_go_or_is_nobody_is_refused_before_anything_runs(
    kind: type, overrides: list[str], named: str, tmp_path: Path
) -> None:
    from robot_stack.bringup import resolve

    with pytest.raises(ConfigError, match=named):
        resolve(load(kind, overrides), tmp_path)


def mode_is(mode: Mode) -> Callable[[Step], bool]:
    return lambda step: step.verdict.mode is mode


@pytest.mark.slow
def test_in_the_real_graph_a_gamepad_takes_the_arm_gives_it_back_and_may_be_unplugged(
    start_graph: Callable[..., "Graph"], tmp_path: Path
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
    pytest.importorskip("mink", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")
    from robot_stack.config.commands import ReplayCommand
    from robot_stack.data.from_log import sampled
    from robot_stack.data.log import read_log
    from robot_stack.relabel.interventions import INTERVENTION, PRE, ROBOT, classes
    from robot_stack.replay.command import replay

    overrides = ("teleop=joy", "teleop.silent_s=2", "safety.teleop_silent_s=1", "safety.stop_after_s=60")
    with start_graph(*overrides) as graph, ExitStack() as ends:
        pad = JoyRig(ends, dict(graph.processes.environment))
        graph.director.reset(0, "nominal")
        graph.start_log(tmp_path / "episode", "nominal")
        graph.arm(timeout_s=PATIENCE_S)
        until_taken(graph, pad)
        pad.push(True)
        taken = graph.operator.step()
        assert taken is not None
        graph.wait_for(lambda s: far(s, taken) > 0.1, PATIENCE_S, "the arm where the human wants it")
        pad.push(False)
        pad.press(False)
        held = graph.wait_for(mode_is(Mode.FALLBACK), PATIENCE_S, "the arm held after the clutch was let go")
        pad.confirm(True)
        graph.wait_for(mode_is(Mode.POLICY), PATIENCE_S, "the policy again", held.t_ns)
        pad.confirm(False)
        until_taken(graph, pad)
        pad.unplug()
        graph.wait_for(mode_is(Mode.FALLBACK), PATIENCE_S, "the arm held after the gamepad was unplugged in the hand")
        pad.plug()
        until_taken(graph, pad)
        assert not graph.processes.dead()
        graph.disarm()
        graph.stop_log()
    log = read_log(tmp_path / "episode")
    steps = list(log.steps())
    modes = [step.verdict.mode for step in steps]
    order = [mode for i, mode in enumerate(modes) if mode in (Mode.POLICY, Mode.TELEOP) and mode is not last_of(modes[:i])]
    assert order[:3] == [Mode.POLICY, Mode.TELEOP, Mode.POLICY]
    human = [s.inputs.chunk.source for s in steps if s.verdict.mode is Mode.TELEOP and s.inputs.chunk is not None]
    assert human and {source.partition("+")[0] for source in human} == {TELEOP_SOURCE}
    assert {ROBOT, PRE, INTERVENTION} <= set(classes(sampled(log, 20.0, ())[1], 0.5).tolist())
    assert "bit-equal" in str(replay(ReplayCommand(log=str(tmp_path / "episode"))))


def last_of(modes: list[Mode]) -> Mode | None:
    """The last of `modes` in which somebody moved the arm."""
    return next((mode for mode in reversed(modes) if mode in (Mode.POLICY, Mode.TELEOP)), None)


def far(step: Step, start: Step) -> float:
    return float(np.abs(step.verdict.command.q - start.verdict.command.q).max())


def until_taken(graph: "Graph", pad: JoyRig) -> None:
    """Press the clutch until the arm is the human's: the publisher and the node may not have found each other yet."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for down in (False, True):
            pad.press(down)
            time.sleep(0.3)
        step = graph.operator.step()
        if step is not None and step.verdict.mode is Mode.TELEOP:
            return
    raise AssertionError(
        f"the clutch was not heard within {PATIENCE_S} s; teleop_node says: {graph.processes.tail('teleop_node')}"
    )
