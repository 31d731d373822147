"""kill -9 of the nodes of the real graph: all but arm_node come back to active, are said, and the robot can be armed again."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from drivers.shared_world import SharedArm
from robot_stack.data.log import read_log
from robot_stack.data.wire import ChoiceNote
from robot_stack.diagnostics import Level
from robot_stack.errors import RobotStackError
from robot_stack.graph import ARM_NODE
from robot_stack.supervisor import Graph
from robot_stack.types import Mode
from tests.waiting import PATIENCE_S, until

NODES = ("camera_node_wrist", "policy_node", "monitor_node", "fallback_node", "recorder_node")


@pytest.mark.slow
def test_every_killed_node_but_the_arms_comes_back_and_the_policy_moves_the_arm_again(
    start_graph: Callable[..., Graph], capfd: pytest.CaptureFixture[str]
) -> None:
    with start_graph("run.respawn_wait_s=0.1") as graph:
        graph.arm(timeout_s=PATIENCE_S)
        before = {name: graph.processes.pid(name) for name in NODES}
        for name in NODES:
            graph.kill(name)
        until(lambda: all(graph.processes.pid(name) != before[name] for name in NODES), "new processes")
        for name in NODES:
            until(lambda name=name: active(graph, name), f"{name} to be active")
        said = ""

        def all_said() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return all(f"{name}: active again after" in said for name in NODES)

        until(all_said, "a sentence for each")
        assert all(f"{name}: ended with -9; it is started again in 0.1 s (1 of 5)" in said for name in NODES)
        until(lambda: graph.operator.readings()["supervisor: policy_node"].values["started_again"] == "1", "its diagnostics")
        graph.reset()
        graph.disarm()
        graph.arm(timeout_s=PATIENCE_S)
        killed_and_dead(graph)


def active(graph: Graph, name: str) -> bool:
    try:
        return graph.operator.lifecycle_state(name, 2.0) == "active"
    except RobotStackError:
        return False


def killed_and_dead(graph: Graph) -> None:
    """arm_node killed while the policy moves the arm: it stays dead, and the watchdog of the drives stops the arm."""
    assert graph.operator.step().verdict.mode is Mode.POLICY
    graph.kill(ARM_NODE)
    arm = SharedArm(graph.run.world)
    until(lambda: bool((np.abs(arm.read().qd) < 0.02).all()), "an arm at rest")
    until(lambda: graph.operator.readings()[f"supervisor: {ARM_NODE}"].level is Level.ERROR, "its diagnostics")
    assert graph.processes.dead() == {ARM_NODE: -signal.SIGKILL}
    with pytest.raises(RobotStackError, match=ARM_NODE):
        graph.processes.require_alive()


@pytest.mark.slow
def test_an_instruction_the_policy_cannot_follow_is_refused_and_each_decision_is_logged_with_its_own(
    start_graph: Callable[..., Graph], tmp_path: Path
) -> None:
    with start_graph() as graph:
        graph.start_log(tmp_path / "log")
        for instruction, why in (("  ", "not empty"), ("Put it back.", "trained on that one only")):
            with pytest.raises(RobotStackError, match=why):
                graph.operator.instruct(instruction)
        graph.operator.instruct(graph.run.instruction)
        until(lambda: said_well(graph), "decisions that go on")
        graph.stop_log()
    notes = [note for _, _, note in read_log(tmp_path / "log").iterate({"/policy/choice"}) if isinstance(note, ChoiceNote)]
    assert notes and {note.instruction for note in notes} == {graph.run.instruction}


def said_well(graph: Graph) -> bool:
    reading = graph.operator.readings().get("policy_node: policy")
    return reading is not None and reading.level is Level.OK and float(reading.values["latency_ms"]) > 0.0
