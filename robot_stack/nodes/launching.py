"""What `launch/*.launch.py` have in common: the processes of `robot_stack.graph` as actions of a full ROS 2's `launch`."""

import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from robot_stack.bringup import prepare
from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.load import load
from robot_stack.graph import Process

ROBOT = ("sim_arm", "name or YAML file of the robot")
NAMESPACE = ("", "name of this arm among several")
"""Launch arguments: what they are by default, and what they mean."""


def description(start: Callable[[Any], list[Any]], command: str, **arguments: tuple[str, str]) -> Any:
    """What `ros2 launch` asks for: `arguments`, `overrides` as `robot-stack COMMAND` takes them, and the actions that `start`
    gives once they are known."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchDescription  # type: ignore[attr-defined]  # mypy takes our folder of that name for it

    arguments["overrides"] = ("", f"settings, as `robot-stack {command}` takes them")
    declared = [DeclareLaunchArgument(name, default_value=by, description=text) for name, (by, text) in arguments.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def bring_up(context: Any, robot: str, bundle: str = "", namespace: str = "") -> list[Any]:
    """Every action that starts one arm, as the supervisor would: discovery kept on this computer first, then every process.

    With a `bundle` its policy moves the arm, else a human. Settings come from the launch argument `overrides`, the domain from
    ROS_DOMAIN_ID, unless run.domain says otherwise.
    """
    from launch.actions import SetEnvironmentVariable

    asked = [f"robot={robot}", f"run.namespace={namespace}", *shlex.split(said(context, "overrides"))]
    command = load(RunCommand, [f"bundle={bundle}", *asked]) if bundle else load(RecordCommand, asked)
    domain = command.run.domain if command.run.domain > 0 else int(os.environ.get("ROS_DOMAIN_ID", "0"))
    prepared = prepare(command, domain)
    return [
        *(SetEnvironmentVariable(name, value) for name, value in prepared.environment.items()),
        *(_execute(process) for process in prepared.description.processes),
    ]


def said(context: Any, name: str) -> str:
    """The value of the launch argument `name`."""
    from launch.substitutions import LaunchConfiguration

    return str(LaunchConfiguration(name).perform(context))


def _execute(process: Process) -> Any:
    """`launch` knows no growing wait: a node is started again after the longest of its rule, as often as that says."""
    from launch.actions import ExecuteProcess

    options: dict[str, Any] = {}
    if (rule := process.respawn) is not None:
        options = {"respawn": True, "respawn_delay": rule.most_s, "respawn_max_retries": rule.tries}
    return ExecuteProcess(name=process.name, cmd=process.command(sys.executable), output="screen", **options)
