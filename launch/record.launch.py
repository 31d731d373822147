"""A robot that a human moves, to record demonstrations; recorder_node's services start and stop each log.

ros2 launch robot_stack record.launch.py robot:=path/to/mine.yaml
ros2 service call /recorder_node/start std_srvs/srv/Trigger

Without a full ROS 2 `robot-stack record` starts the same processes.
"""

from robot_stack.nodes.launching import NAMESPACE, ROBOT, bring_up, description, said


def start(context):
    """The actions, once the arguments are known."""
    return bring_up(context, said(context, "robot"), namespace=said(context, "namespace"))


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return description(start, "record", robot=ROBOT, namespace=NAMESPACE)
