"""The real graph: world, cameras, arm, policy, monitor, fallback and recorder as processes; everything here leaves it running."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from lifecycle_msgs.msg import Transition

from robot_stack.config.commands import ReplayCommand
from robot_stack.data.log import read_log
from robot_stack.graph import ARM_NODE, node
from robot_stack.replay.command import replay
from robot_stack.supervisor import Graph
from robot_stack.types import ARMED, Mode, Reason, Request, Step

PATIENCE_S = 60.0
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def graph(start_graph: Callable[[], Graph]) -> Iterator[Graph]:
    with start_graph() as graph:
        yield graph


@pytest.fixture
def armed(graph: Graph) -> Graph:
    """The graph with the policy moving the arm, from a fresh start of the world."""
    if graph.operator.step().verdict.mode is Mode.STOP:
        graph.reset()
    if graph.operator.step().verdict.mode is not Mode.DISARMED:
        graph.disarm()
    graph.director.reset(0, "nominal")
    graph.arm(timeout_s=PATIENCE_S)
    return graph


def moved(start: Step, by: float) -> Callable[[Step], bool]:
    return lambda step: bool(np.abs(step.verdict.command.q - start.verdict.command.q).max() > by)


def test_the_policy_moves_the_arm_and_the_log_holds_every_topic(armed: Graph, tmp_path: Path) -> None:
    armed.start_log(tmp_path / "episode", "nominal")
    start = armed.operator.step()
    assert start is not None
    armed.wait_for(moved(start, 0.02), PATIENCE_S, "a moving arm in POLICY")
    armed.wait_for(lambda step: step.t_ns > start.t_ns + SECOND_NS, PATIENCE_S)
    rest = armed.disarm()
    armed.wait_for(lambda step: step.t_ns > rest.t_ns + SECOND_NS // 2, PATIENCE_S)
    assert "no drops" in armed.stop_log()
    log = read_log(tmp_path / "episode")
    published = {topic.name for topic in armed.description.topics} - {"/teleop/chunk"}
    assert log.complete and set(log.summary.messages) == published
    assert log.metadata.scenario == "nominal"
    assert any(step.verdict.mode is Mode.POLICY and step.inputs.chunk is not None for step in log.steps())


def test_a_log_begun_before_arming_replays_to_the_same_verdicts_and_chunks(graph: Graph, bundle: Path, tmp_path: Path) -> None:
    if graph.operator.step().verdict.mode is Mode.STOP:
        graph.reset()
    graph.disarm()
    graph.director.reset(1, "nominal")
    graph.start_log(tmp_path / "episode", "nominal")
    start = graph.arm(timeout_s=PATIENCE_S)
    graph.wait_for(moved(start, 0.02), PATIENCE_S, "a moving arm in POLICY")
    rest = graph.disarm()
    graph.wait_for(lambda step: step.t_ns > rest.t_ns + SECOND_NS // 2, PATIENCE_S)
    graph.stop_log()
    verdicts, chunks = replay(ReplayCommand(log=str(tmp_path / "episode"), bundle=str(bundle))).splitlines()
    assert "verdicts bit-equal" in verdicts and Mode.POLICY.value in verdicts
    assert "chunks decided again" in chunks


def test_a_log_begun_in_motion_holds_what_was_decided_and_sent(armed: Graph, tmp_path: Path) -> None:
    armed.start_log(tmp_path / "episode")
    last = armed.wait_for(lambda step: step.inputs.joints is not None, PATIENCE_S)
    armed.wait_for(lambda step: step.t_ns > last.t_ns + SECOND_NS // 2, PATIENCE_S)
    rest = armed.disarm()
    armed.wait_for(lambda step: step.t_ns > rest.t_ns + SECOND_NS // 2, PATIENCE_S)
    armed.stop_log()
    log = read_log(tmp_path / "episode")
    steps = list(log.steps())
    commands = {value.t_ns: value for _, _, value in log.iterate({"/arm/command"})}
    assert len(steps) > 2
    assert all(np.array_equal(commands[s.verdict.command.t_ns].q, s.verdict.command.q) for s in steps[1:-1])


def test_every_socket_of_every_process_is_bound_to_loopback(graph: Graph) -> None:
    bound = {
        connection.laddr.ip
        for name in graph.processes.names()
        for connection in psutil.Process(graph.processes.pid(name)).net_connections("inet")
        if connection.laddr
    }
    assert bound == {"127.0.0.1"}


def test_an_illegal_lifecycle_request_does_not_disturb_a_moving_arm(armed: Graph) -> None:
    for process in armed.description.nodes:
        assert not armed.operator.change_state(process.node, Transition.TRANSITION_CONFIGURE, PATIENCE_S)
    assert armed.processes.dead() == {}
    assert armed.operator.lifecycle_state(ARM_NODE, PATIENCE_S) == "active"
    armed.wait_for(lambda step: step.verdict.mode is Mode.POLICY, PATIENCE_S)


def test_a_second_arm_node_on_the_same_arm_refuses(graph: Graph) -> None:
    command = node("second_arm_node", "arm_node", str(graph.directory / "run.yaml")).command(sys.executable)
    ended = subprocess.run(command, env=graph.processes.environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert f"process {graph.processes.pid(ARM_NODE)} has it" in ended.stderr


def test_stale_joints_stop_the_arm(armed: Graph) -> None:
    world = psutil.Process(armed.processes.pid("world"))
    stopped_ns = time.monotonic_ns()
    world.suspend()
    try:
        stopped = armed.wait_for(lambda s: s.verdict.mode is Mode.STOP, PATIENCE_S, "STOP", stopped_ns)
    finally:
        world.resume()
    assert stopped.mode_cause[0] is Reason.JOINTS_STALE


def test_stop_latches_until_the_operator_resets_it(armed: Graph) -> None:
    granted, why = armed.operator.request(Request.STOP)
    assert granted and "operator" in why
    granted, why = armed.operator.request(Request.ARM_POLICY)
    assert not granted and Reason.STOPPED.value in why
    assert armed.reset().verdict.mode is Mode.DISARMED


def test_a_disarmed_arm_rests(armed: Graph) -> None:
    armed.disarm()
    rest = armed.wait_for(lambda s: s.verdict.command.qd is not None and not s.verdict.command.qd.any(), PATIENCE_S, "rest")
    later = armed.wait_for(lambda s: s.t_ns > rest.t_ns + 200_000_000, PATIENCE_S)
    assert later.verdict.mode not in ARMED
    assert np.array_equal(later.verdict.command.q, rest.verdict.command.q)
