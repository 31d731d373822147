"""A ROS node that calls itself policy_node and publishes chunks without a seal, 20 a second, each leading away from home.

python impostor.py RUN_FILE
"""

import sys
import time

import numpy as np
import rclpy
from rclpy.node import Node

from robot_stack.build import load
from robot_stack.data.wire import to_message
from robot_stack.graph import POLICY_CHUNK
from robot_stack.nodes.messages import make, message_class
from robot_stack.nodes.qos import every
from robot_stack.types import ActionChunk


def main(run_file: str) -> None:
    """Publish until ended."""
    robot = load(run_file).robot
    rclpy.init()
    publisher = Node("policy_node").create_publisher(message_class(POLICY_CHUNK.type), POLICY_CHUNK.name, every(POLICY_CHUNK))
    away = np.array(robot.q_home) + np.linspace(0.0, 0.3, 16)[:, None]
    while rclpy.ok():
        now = time.monotonic_ns()
        publisher.publish(to_message(ActionChunk(now, now, 50_000_000, away, "flow"), make, robot.joint_names))
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
