"""The simulated arm, or several, each in a namespace with a world, cameras, safety and a policy (or a scripted human) of its own.

ros2 launch robot_stack sim.launch.py bundle:=runs/bundle
ros2 launch robot_stack sim.launch.py bundle:=runs/bundle arms:="left right"
ros2 topic pub --once /stop_all std_msgs/msg/Empty

The last line stops all of them; /left/arm_node/stop the left one alone.
"""

from robot_stack.nodes.launching import bring_up, description, said


def start(context):
    """The actions of every arm, once the arguments are known."""
    arms = said(context, "arms").split() or [""]
    return [action for arm in arms for action in bring_up(context, "sim_arm", said(context, "bundle"), arm)]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return description(
        start,
        "run",
        bundle=("", "folder of the exported policy; '' = a scripted human instead"),
        arms=("", "a namespace for each arm; '' = one without"),
    )
