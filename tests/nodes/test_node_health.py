"""Every node says how it is and refuses what may not change; two of a kind in two namespaces do not hear each other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from robot_stack import build
from robot_stack.diagnostics import Level
from robot_stack.errors import RobotStackError
from robot_stack.graph import RECORDER_NODE, node
from robot_stack.nodes.operator import Operator
from robot_stack.processes import ProcessGroup
from robot_stack.seal import KEYS, read_keys
from tests.ros_domain import own_domain
from tests.waiting import PATIENCE_S, until


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Operator]]:
    """A recorder_node without a namespace and one in `left`, and an operator for each."""
    folder = tmp_path_factory.mktemp("recorders")
    build.save(build.Run(folder=str(folder / "logs")), folder / "run.yaml")
    with own_domain(folder) as (domain, env):
        processes, made = ProcessGroup(env, folder), {}
        for namespace in ("", "left"):
            process = node(RECORDER_NODE, "recorder_node", str(folder / "run.yaml"))
            processes.start(replace(process, name=f"recorder{namespace}", namespace=namespace))
            made[namespace] = Operator(domain, read_keys(folder / KEYS), namespace)
        for operator in made.values():
            operator.lifecycle_state(RECORDER_NODE, PATIENCE_S)
        yield made
        for operator in made.values():
            operator.close()
        processes.stop(processes.names())


def test_a_node_says_how_it_is_and_what_it_does_not_hear(operators: dict[str, Operator]) -> None:
    operator = operators[""]
    until(lambda: "recorder_node: process" in operator.readings(), "its diagnostics")
    process = operator.readings()["recorder_node: process"]
    assert (process.level, process.values["state"]) == (Level.OK, "active") and float(process.values["memory_mib"]) > 10.0
    assert operator.readings()["recorder_node: /joint_states"].level is Level.STALE
    assert operator.readings()["recorder_node: /teleop/chunk"].level is Level.OK, "a human may be silent"


def test_the_diagnostics_of_all_arms_are_on_one_topic_under_their_names(operators: dict[str, Operator]) -> None:
    until(lambda: "left/recorder_node: process" in operators[""].readings(), "the other's diagnostics")


def test_a_node_in_a_namespace_answers_there_alone(operators: dict[str, Operator], tmp_path: Path) -> None:
    operators["left"].start_log(tmp_path / "left", timeout_s=PATIENCE_S)
    assert operators[""].trigger(f"/{RECORDER_NODE}/stop", PATIENCE_S) == (False, "no log is being written; start one first")
    assert "no drops" in operators["left"].stop_log(PATIENCE_S)


def test_what_may_not_change_is_refused_with_the_reason(operators: dict[str, Operator]) -> None:
    for name, value, why in (
        ("config", "another.yaml", "read-only"),
        ("scenario", "x" * 2000, "allowed a text of at most 1000 characters"),
        ("nonsense", "x", "nonsense"),
    ):
        with pytest.raises(RobotStackError, match=why):
            operators[""].set_text(RECORDER_NODE, {name: value}, PATIENCE_S)
    operators[""].set_text(RECORDER_NODE, {"scenario": "dark"}, PATIENCE_S)
