"""The far end of the ros2_control driver, in a process of its own: a broadcaster and a controller of either kind.

    python controller_node.py JOINT...

It speaks as ros2_controllers do: it publishes its joints in another order, with one more, at 100 Hz, and follows what it is sent
at first order. A trajectory of other joints, or one that ends with a velocity, is refused.
"""

import sys
import time

import rclpy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

NAME, RATE_HZ, TIME_CONSTANT_S = "arm_controller", 100.0, 0.05


def main() -> None:
    names = sys.argv[1:]
    rclpy.init()
    node = rclpy.create_node("far_end")
    q, goal = dict.fromkeys(names, 0.1), dict.fromkeys(names, 0.1)
    out = node.create_publisher(JointState, "/joint_states", 10)

    def array(message: Float64MultiArray) -> None:
        if len(message.data) == len(names):
            goal.update(zip(names, message.data, strict=True))

    def trajectory(message: JointTrajectory) -> None:
        last = message.points[-1]
        if set(message.joint_names) == set(names) and not any(last.velocities):
            goal.update(zip(message.joint_names, last.positions, strict=True))

    def turn() -> None:
        before = dict(q)
        for name in names:
            q[name] += (goal[name] - q[name]) / RATE_HZ / TIME_CONSTANT_S
        shown = [*reversed(names), "tool"]
        state = JointState(name=shown, position=[q.get(name, 0.0) for name in shown])
        state.velocity = [(q[name] - before[name]) * RATE_HZ for name in reversed(names)] + [float("nan")]
        state.header.stamp = node.get_clock().now().to_msg()
        out.publish(state)

    node.create_subscription(Float64MultiArray, f"/{NAME}/commands", array, 10)
    node.create_subscription(JointTrajectory, f"/{NAME}/joint_trajectory", trajectory, 10)
    node.create_timer(1.0 / RATE_HZ, turn)
    until = time.monotonic() + 300.0
    while rclpy.ok() and time.monotonic() < until:
        rclpy.spin_once(node, timeout_sec=0.1)


if __name__ == "__main__":
    main()
