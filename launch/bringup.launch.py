"""A robot, its cameras, its safety and a policy: the graph of robot_stack.graph, started by a full ROS 2.

ros2 launch robot_stack bringup.launch.py robot:=path/to/mine.yaml bundle:=runs/bundle
ros2 launch robot_stack bringup.launch.py bundle:=runs/bundle overrides:="run.fifo_priority=50"
ros2 launch robot_stack bringup.launch.py robot:=left.yaml bundle:=runs/bundle namespace:=left

Without a full ROS 2 `robot-stack run` starts the same processes. Several arms: include it once for each, in a namespace each.
"""

from robot_stack.nodes.launching import NAMESPACE, ROBOT, bring_up, description, said


def start(context):
    """The actions, once the arguments are known."""
    return bring_up(context, said(context, "robot"), said(context, "bundle"), said(context, "namespace"))


def generate_launch_description():
    """What `ros2 launch` asks for."""
    bundle = ("", "folder of the exported policy; '' = a human instead")
    return description(start, "run", robot=ROBOT, bundle=bundle, namespace=NAMESPACE)
