"""The shell around every node, under the real rclpy, on a node that needs no device."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from lifecycle_msgs.msg import Transition

from robot_stack import build
from robot_stack.errors import RobotStackError
from robot_stack.graph import RECORDER_NODE, node
from robot_stack.nodes.operator import Operator
from robot_stack.processes import ProcessGroup
from robot_stack.seal import KEYS, read_keys
from tests.ros_domain import own_domain

PATIENCE_S = 60.0
ILLEGAL = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_CLEANUP, 99)
"""What an active node may not do."""


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, ProcessGroup]]:
    folder = tmp_path_factory.mktemp("recorder")
    with own_domain(folder) as (domain, env):
        build.save(build.Run(folder=str(folder / "logs")), folder / "run.yaml")
        processes = ProcessGroup(env, folder)
        processes.start(node(RECORDER_NODE, "recorder_node", str(folder / "run.yaml")))
        operator = Operator(domain, read_keys(folder / KEYS))
        operator.lifecycle_state(RECORDER_NODE, PATIENCE_S)
        yield operator, processes
        operator.close()
        processes.stop([RECORDER_NODE])


def test_a_node_makes_itself_active(recorder: tuple[Operator, ProcessGroup]) -> None:
    assert recorder[0].lifecycle_state(RECORDER_NODE, PATIENCE_S) == "active"


def test_an_illegal_lifecycle_request_is_refused_and_the_node_lives_on(recorder: tuple[Operator, ProcessGroup]) -> None:
    operator, processes = recorder
    assert [operator.change_state(RECORDER_NODE, illegal, PATIENCE_S) for illegal in ILLEGAL] == [False] * len(ILLEGAL)
    assert operator.lifecycle_state(RECORDER_NODE, PATIENCE_S) == "active"
    assert processes.dead() == {}


def test_a_node_goes_through_its_whole_life_twice(recorder: tuple[Operator, ProcessGroup]) -> None:
    operator = recorder[0]
    down = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    up = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    for transition in (*down, *up, *down, *up):
        assert operator.change_state(RECORDER_NODE, transition, PATIENCE_S)
    assert operator.trigger(f"/{RECORDER_NODE}/stop", PATIENCE_S) == (False, "no log is being written; start one first")


def test_logs_are_numbered_and_never_overwritten(recorder: tuple[Operator, ProcessGroup], tmp_path: Path) -> None:
    operator = recorder[0]
    paths = []
    for _ in range(2):
        paths.append(Path(operator.trigger(f"/{RECORDER_NODE}/start", PATIENCE_S)[1]))
        assert operator.trigger(f"/{RECORDER_NODE}/start", PATIENCE_S)[0] is False
        assert "no drops" in operator.stop_log(PATIENCE_S)
    assert [path.name for path in paths] == ["episode_0000", "episode_0001"]
    with pytest.raises(RobotStackError, match="never overwritten"):
        operator.start_log(paths[0], timeout_s=PATIENCE_S)


def test_a_missing_run_file_is_said_in_one_line_and_ends_the_node(tmp_path: Path) -> None:
    command = node("recorder_node", "recorder_node", str(tmp_path / "absent.yaml")).command(sys.executable)
    with own_domain(tmp_path) as (_, env):
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert "absent.yaml" in ended.stderr and "Traceback" not in ended.stderr


def test_a_node_started_in_a_bare_shell_refuses_before_it_opens_a_socket() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("ROS_AUTO", "ROBOT_STACK", "FAST"))}
    command = [sys.executable, "-m", "robot_stack.nodes.recorder_node"]
    ended = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1 and "ROS_AUTOMATIC_DISCOVERY_RANGE" in ended.stderr
