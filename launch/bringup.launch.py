"""The graph of robot_stack.graph, started by a full ROS 2; without one, `robot-stack run` starts the same processes.

ros2 launch robot_stack bringup.launch.py bundle:=runs/bundle
ros2 launch robot_stack bringup.launch.py bundle:=runs/bundle overrides:="robot=sim_arm run.fifo_priority=50"
"""

import os
import shlex
import sys

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration

from launch import LaunchDescription
from robot_stack.bringup import prepare
from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.load import load

RESPAWN_S = 2.0
"""A node whose device is not there yet, or went away, ends and tries again. arm_node comes back DISARMED."""


def bring_up(context):
    """The actions: discovery kept on this computer first, then every process, as the supervisor would start it."""
    bundle = LaunchConfiguration("bundle").perform(context)
    overrides = shlex.split(LaunchConfiguration("overrides").perform(context))
    command = load(RunCommand, [f"bundle={bundle}", *overrides]) if bundle else load(RecordCommand, overrides)
    domain = command.run.domain if command.run.domain > 0 else int(os.environ.get("ROS_DOMAIN_ID", "0"))
    prepared = prepare(command, domain)
    world = [prepared.description.world] if prepared.description.world else []
    return [
        *(SetEnvironmentVariable(name, value) for name, value in prepared.environment.items()),
        *(ExecuteProcess(name=process.name, cmd=process.command(sys.executable), output="screen") for process in world),
        *(
            ExecuteProcess(
                name=process.name, cmd=process.command(sys.executable), output="screen", respawn=True, respawn_delay=RESPAWN_S
            )
            for process in prepared.description.nodes
        ),
    ]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", default_value="", description="folder of the exported policy; '' = a human instead"),
            DeclareLaunchArgument("overrides", default_value="", description="settings, as `robot-stack run` takes them"),
            OpaqueFunction(function=bring_up),
        ]
    )
