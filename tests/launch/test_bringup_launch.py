"""`launch/*.launch.py` start the graph of `robot_stack.graph`: checked by recording what they ask launch for."""

import json
import os
import runpy
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from robot_stack.bringup import describe_run
from robot_stack.build import load
from robot_stack.config import plain
from robot_stack.config.robot_file import FOLDER
from robot_stack.config.schema import TaskSettings

FOLDER_OF_FILES = Path(__file__).resolve().parents[2] / "launch"
FILES = ("bringup", "record", "sim")


@dataclass
class Recorded:
    """An action of launch as it was asked for."""

    kind: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


class Configuration:
    """What `LaunchConfiguration` is: a name looked up in the launch arguments."""

    def __init__(self, name: str) -> None:
        self.name = name

    def perform(self, context: SimpleNamespace) -> str:
        return str(context.arguments[self.name])


@pytest.fixture(params=["bringup"])
def described(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the launch file of that name defines, with a `launch` that records."""

    def action(kind: str) -> Any:
        return lambda *args, **options: Recorded(kind, args, options)

    names = ("DeclareLaunchArgument", "ExecuteProcess", "OpaqueFunction", "SetEnvironmentVariable")
    stubs = {
        "launch": {"LaunchDescription": lambda actions: actions},
        "launch.actions": {name: action(name) for name in names},
        "launch.substitutions": {"LaunchConfiguration": Configuration},
    }
    for name, content in stubs.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(FOLDER_OF_FILES / f"{request.param}.launch.py"))


def actions(described: dict[str, Any], folder: Path, **arguments: str) -> list[Recorded]:
    asked = described["generate_launch_description"]()
    defaults = {a.args[0]: a.options["default_value"] for a in asked if a.kind == "DeclareLaunchArgument"}
    context = SimpleNamespace(arguments=defaults | {"overrides": f"run.log_dir={folder}"} | arguments)
    result: list[Recorded] = next(a for a in asked if a.kind == "OpaqueFunction").options["function"](context)
    return result


def test_it_starts_the_processes_of_the_description_with_the_same_commands(described: dict[str, Any], tmp_path: Path) -> None:
    started = [a.options for a in actions(described, tmp_path, bundle="some/bundle") if a.kind == "ExecuteProcess"]
    run_file = next(tmp_path.glob("*/run.yaml"))
    graph = describe_run(load(run_file), run_file)
    assert graph.world is not None
    assert [a["cmd"] for a in started] == [p.command(sys.executable) for p in (graph.world, *graph.nodes)]


def test_the_world_gets_the_robot_and_the_task_of_the_run(described: dict[str, Any], tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_bytes((FOLDER / "sim_arm.yaml").read_bytes())
    overrides = f"run.log_dir={tmp_path} robot={os.path.relpath(mine)} task.obstacle_radius=0.07"
    started = [a.options["cmd"] for a in actions(described, tmp_path, overrides=overrides) if a.kind == "ExecuteProcess"]
    world = next(command for command in started if "drivers.world_process" in command)
    assert world[world.index("--robot") + 1] == str(mine)
    task = plain.build(TaskSettings, json.loads(world[world.index("--task") + 1]))
    assert task == TaskSettings(obstacle_radius=0.07)


def test_the_network_is_set_before_the_first_process(described: dict[str, Any], tmp_path: Path) -> None:
    kinds = [a.kind for a in actions(described, tmp_path)]
    variables = {a.args[0] for a in actions(described, tmp_path) if a.kind == "SetEnvironmentVariable"}
    assert {"ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"} <= variables
    assert "SetEnvironmentVariable" not in kinds[kinds.index("ExecuteProcess") :]


@pytest.mark.parametrize("described", FILES, indirect=True)
def test_without_a_bundle_a_human_moves_the_arm(described: dict[str, Any], tmp_path: Path) -> None:
    names = [a.options["name"] for a in actions(described, tmp_path) if a.kind == "ExecuteProcess"]
    assert "teleop_node" in names and "policy_node" not in names


def test_all_but_the_arm_and_the_world_are_started_again(described: dict[str, Any], tmp_path: Path) -> None:
    overrides = f"run.log_dir={tmp_path} run.respawn=[camera:7,recorder]"
    processes = [a.options for a in actions(described, tmp_path, overrides=overrides) if a.kind == "ExecuteProcess"]
    again = {a["name"]: a["respawn_max_retries"] for a in processes if a.get("respawn")}
    assert again == {"camera_node_scene": 7, "camera_node_wrist": 7, "recorder_node": 5}


@pytest.mark.parametrize("described", ["sim"], indirect=True)
def test_two_simulated_arms_have_a_namespace_and_a_world_each(described: dict[str, Any], tmp_path: Path) -> None:
    commands = [a.options["cmd"] for a in actions(described, tmp_path, arms="left right") if a.kind == "ExecuteProcess"]
    arms = [command for command in commands if "robot_stack.nodes.arm_node" in command]
    assert [word for command in arms for word in command if word.startswith("__ns")] == ["__ns:=/left", "__ns:=/right"]
    worlds = [command[command.index("--name") + 1] for command in commands if "drivers.world_process" in command]
    assert len(set(worlds)) == 2


@pytest.mark.parametrize("described", ["bringup", "record"], indirect=True)
def test_an_arm_may_be_given_a_namespace(described: dict[str, Any], tmp_path: Path) -> None:
    commands = [a.options["cmd"] for a in actions(described, tmp_path, namespace="left") if a.kind == "ExecuteProcess"]
    assert all("__ns:=/left" in command for command in commands if "drivers.world_process" not in command)


@pytest.mark.parametrize("name", FILES)
def test_a_full_ros_reads_it(name: str) -> None:
    pytest.importorskip("launch_ros", reason="needs a full ROS 2: `launch_ros` is not among the wheels")
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    assert os.environ.get("ROS_DISTRO")
    assert get_launch_description_from_python_launch_file(str(FOLDER_OF_FILES / f"{name}.launch.py")).entities
