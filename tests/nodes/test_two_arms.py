"""Two simulated arms on one domain, told apart by namespaces: each has its own safety, and only a global stop stops both."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from drivers.shared_world import SharedArm
from robot_stack.bringup import prepare
from robot_stack.config.commands import RecordCommand
from robot_stack.config.load import load
from robot_stack.diagnostics import Level
from robot_stack.domain import lease_domain
from robot_stack.errors import ConfigError, RobotStackError
from robot_stack.graph import ARM_NODE
from robot_stack.nodes.operator import Operator
from robot_stack.processes import ProcessGroup
from robot_stack.seal import KEYS, read_keys
from robot_stack.types import Mode, Request, Step

if TYPE_CHECKING:
    from robot_stack.supervisor import Graph

PATIENCE_S = 60.0


def in_mode(mode: Mode) -> Callable[[Step], bool]:
    return lambda step: step.verdict.mode is mode


def start_arm(stack: ExitStack, domain: int, namespace: str, folder: Path) -> Operator:
    """A world and its arm_node in `namespace`, and whoever operates it."""
    command = load(RecordCommand, [f"run.domain={domain}", f"run.namespace={namespace}"])
    prepared = prepare(command, domain, folder / namespace)
    os.environ.update({name: value for name, value in prepared.environment.items() if name != "ROS_DOMAIN_ID"})
    processes = ProcessGroup({**os.environ, **prepared.environment}, prepared.directory)
    stack.callback(lambda: processes.stop(processes.names()))
    assert prepared.description.world is not None
    processes.start(prepared.description.world)
    SharedArm(prepared.run.world, PATIENCE_S)
    processes.start(next(process for process in prepared.description.nodes if process.name == ARM_NODE))
    operator = Operator(domain, read_keys(prepared.directory / KEYS), namespace)
    stack.callback(operator.close)
    return operator


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Operator]]:
    """The left and the right arm, active."""
    lease = lease_domain()
    with ExitStack() as stack:
        stack.callback(lease.release)
        left, right = (start_arm(stack, lease.domain, name, tmp_path_factory.mktemp(name)) for name in ("left", "right"))
        for operator in (left, right):
            operator.wait_for(lambda step: True, PATIENCE_S, "a verdict", 0)
        yield left, right


def reset(*operators: Operator) -> None:
    for operator in operators:
        operator.request(Request.RESET, PATIENCE_S)
        operator.wait_for(in_mode(Mode.DISARMED), PATIENCE_S)


def test_a_stop_of_one_arm_leaves_the_other_as_it_is(arms: tuple[Operator, Operator]) -> None:
    left, right = arms
    reset(left, right)
    assert left.request(Request.STOP, PATIENCE_S)[0]
    stopped = left.wait_for(in_mode(Mode.STOP), PATIENCE_S)
    later = right.wait_for(lambda step: step.t_ns > stopped.t_ns + 200_000_000, PATIENCE_S)
    assert later.verdict.mode is Mode.DISARMED


def test_a_global_stop_stops_both_and_each_is_reset_by_itself(arms: tuple[Operator, Operator]) -> None:
    left, right = arms
    reset(left, right)
    right.stop_all()
    for operator in (left, right):
        operator.wait_for(in_mode(Mode.STOP), PATIENCE_S, "STOP")
    reset(left)
    assert right.wait_for(lambda step: True, PATIENCE_S).verdict.mode is Mode.STOP


def test_an_arm_with_nobody_else_in_its_graph_is_not_armed_and_says_what_is_lacking(arms: tuple[Operator, Operator]) -> None:
    reset(*arms)
    granted, why = arms[0].request(Request.ARM_TELEOP, PATIENCE_S)
    assert not granted and "not_ready" in why and "monitor_silent" in why


def test_the_mode_is_one_of_two_and_what_arm_asks_for(arms: tuple[Operator, Operator]) -> None:
    left, _ = arms
    with pytest.raises(RobotStackError, match="allowed policy, teleop"):
        left.set_text(ARM_NODE, {"mode": "nobody"}, PATIENCE_S)
    left.set_mode(Mode.POLICY, PATIENCE_S)
    left.set_mode(Mode.TELEOP, PATIENCE_S)


def test_each_arm_says_how_its_loop_and_its_mode_are(arms: tuple[Operator, Operator]) -> None:
    reset(*arms)
    parts = ("control", "mode", "process", "/monitor/score")
    wanted = {f"{side}/arm_node: {part}" for side in ("left", "right") for part in parts}
    deadline = time.monotonic() + PATIENCE_S
    while not wanted <= arms[0].readings().keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    readings = arms[0].readings()
    assert wanted <= readings.keys()
    assert readings["left/arm_node: control"].values["wanted_hz"] == "100.0"
    assert readings["left/arm_node: /monitor/score"].level is Level.STALE


def test_a_namespace_can_be_had_once_and_a_domain_without_one_not_at_all(arms: tuple[Operator, Operator]) -> None:
    with ExitStack() as stack:
        lease = lease_domain()
        lease.release()
        one = lease_domain(lease.domain, "left")
        stack.callback(one.release)
        other = lease_domain(lease.domain, "right")
        stack.callback(other.release)
        with pytest.raises(ConfigError, match="run.namespace: left is in use"):
            lease_domain(lease.domain, "left")
        with pytest.raises(ConfigError, match="run.domain"):
            lease_domain(lease.domain)


@pytest.mark.slow
def test_two_whole_graphs_arm_each_by_itself_and_a_stop_of_one_lets_the_other_go_on(start_graph: Callable[..., "Graph"]) -> None:
    lease = lease_domain()
    lease.release()
    domain = f"run.domain={lease.domain}"
    with start_graph(domain, "run.namespace=left") as left, start_graph(domain, "run.namespace=right") as right:
        for graph in (left, right):
            graph.arm(timeout_s=PATIENCE_S)
        assert left.operator.request(Request.STOP, PATIENCE_S)[0]
        stopped = left.wait_for(in_mode(Mode.STOP), PATIENCE_S)
        on = right.wait_for(lambda step: step.t_ns > stopped.t_ns + 300_000_000, PATIENCE_S)
        assert on.verdict.mode is Mode.POLICY
        left.operator.stop_all()
        right.wait_for(in_mode(Mode.STOP), PATIENCE_S, "STOP of the other, too")
