"""The table of faults: complete, and its bad chunks are bad in the one way each says."""

import numpy as np
import pytest

from robot_stack import cli
from robot_stack.config.commands import FaultCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.data.rosbags_messages import make
from robot_stack.data.wire import to_message
from robot_stack.errors import ConfigError, ContractError
from robot_stack.faults.command import main
from robot_stack.faults.messages import SOURCE, bad_chunk
from robot_stack.faults.table import CHUNK_KINDS, SILENT_S, TICKS, Expect, Means, cases
from robot_stack.graph import describe
from robot_stack.nodes.arm_loop import Inbox
from robot_stack.types import ActionChunk, Hazards, JointState, Mode, Reason, Step, TickInputs
from safety.layer import SafetyLayer

ROBOT = load_robot("sim_arm")
TABLE = cases(ROBOT)
MS = 1_000_000
NOW = 100_000 * MS
Armed = tuple[SafetyLayer, ControlState, ActionChunk]


def test_every_process_of_the_graph_is_killed_stopped_and_slowed_down() -> None:
    names = {node.name for node in describe("run.yaml", [camera.name for camera in ROBOT.cameras]).nodes} | {"world"}
    for means in (Means.KILL, Means.STOP, Means.SLOW):
        assert {case.target for case in TABLE.values() if case.means is means} == names


def test_what_arm_node_sees_has_two_ticks_and_what_falls_silent_three_tenths_of_a_second() -> None:
    dt = ROBOT.dt_ns * 1e-9
    assert {case.bound_s for case in TABLE.values() if case.expect is Expect.REFUSED} == {TICKS * dt}
    assert all(TABLE[name].bound_s == TICKS * dt for name in ("encoder_jumps", "encoder_no_number", "joint_stuck"))
    silent = [case for case in TABLE.values() if case.means in (Means.KILL, Means.STOP) and case.expect is Expect.SAFE]
    assert silent and {case.bound_s for case in silent} == {SILENT_S}


def test_each_fault_says_how_it_is_done_and_what_must_come_of_it() -> None:
    for name, case in TABLE.items():
        assert case.name == name and "{" not in case.how and case.expected.startswith(case.expect.value)
        assert case.modes or case.reasons or case.says or case.expect in (Expect.AT_REST, Expect.GOES_ON, Expect.EITHER)


def rows(begin: float) -> np.ndarray:
    return np.array(ROBOT.q_home) + np.linspace(begin, begin + 0.05, 16)[:, None] * np.eye(7)[0]


@pytest.fixture
def armed() -> Armed:
    """A policy that has the arm and the chunk it plays."""
    layer, good = SafetyLayer(ROBOT, SafetySettings()), ActionChunk(NOW - 50 * MS, NOW - 40 * MS, 50 * MS, rows(0.0), "flow")
    joints = JointState(NOW, np.array(ROBOT.q_home), np.zeros(7))
    hazards = Hazards(NOW, np.array([[2.0, 2.0, 2.0]]), np.array([0.05]), np.array([0.0]), np.array([0.0]))
    state = ControlState(Mode.POLICY, NOW - 100 * MS, joints=joints, hazards=hazards, score_ns=NOW, chunk_ns=NOW, fallback_ns=NOW)
    state, step = control_step(state, TickInputs(chunk=good), NOW, 0, layer)
    assert not refusals(step)
    return layer, state, good


def refusals(step: Step) -> set[Reason]:
    return {violation.reason for violation in step.verdict.violations if violation.reason.value.startswith("chunk")} - {
        Reason.AHEAD
    }


@pytest.mark.parametrize("kind", CHUNK_KINDS)
def test_a_bad_chunk_is_refused_in_its_tick_for_the_reason_in_the_table_and_the_good_one_plays_on(
    kind: str, armed: Armed
) -> None:
    layer, state, good = armed
    later = NOW + 10 * MS
    chunk, names = bad_chunk(kind, good, ROBOT.joint_names, later)
    inbox = Inbox()
    try:
        inbox.put_chunk_message(to_message(chunk, make, names), ROBOT.joint_names, human=False)
    except ContractError:
        pass  # arm_node says it and goes on
    waiting = {"chunk": inbox.policy_chunk, "refused": inbox.refused}
    inputs = TickInputs(**{name: slot[0] for name, slot in waiting.items() if slot})
    after, step = control_step(state, inputs, later, 0, layer)
    assert refusals(step) == TABLE[f"chunk_{kind}"].reasons
    assert step.verdict.mode is Mode.POLICY and after.chunks == state.chunks


@pytest.mark.parametrize("kind", sorted(set(CHUNK_KINDS) - {"duplicate", "of_a_human"}))
def test_who_listens_to_the_policy_knows_its_own_bad_chunks(kind: str) -> None:
    good = ActionChunk(NOW, NOW, 50 * MS, rows(0.0), "flow")
    assert bad_chunk(kind, good, ROBOT.joint_names, NOW + MS)[0].source == SOURCE


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed those of"):
        bad_chunk("odd", ActionChunk(NOW, NOW, MS, rows(0.0), "flow"), ROBOT.joint_names, NOW)


def test_without_a_name_the_command_lists_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fault"]) == 0
    said = capsys.readouterr().out
    assert all(line.split()[0] == name for line, name in zip(said.splitlines(), TABLE, strict=True))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (FaultCommand(faults="kill_policy"), "did you mean kill_policy_node"),
        (FaultCommand(faults="partition"), "robot-stack bench faults"),
        (FaultCommand(faults="bus_lost"), "bundle: missing"),
        (FaultCommand(faults="bus_lost", graph="/nowhere"), "/nowhere/run.yaml"),
    ],
)
def test_a_fault_that_is_none_or_has_no_graph_is_an_error_that_says_what_to_do(asked: FaultCommand, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        main(asked)
