"""A policy of this run gone wrong, as a process of its own: publishes bad chunks of one kind on /policy/chunk until it ends.

python chunk_publisher.py RUN_FILE nan|order|stale|short
"""

import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node

from robot_stack.build import load
from robot_stack.data.wire import to_message
from robot_stack.graph import POLICY_CHUNK
from robot_stack.nodes.messages import make, message_class
from robot_stack.nodes.qos import every
from robot_stack.seal import KEYS, read_keys, seal
from robot_stack.types import ActionChunk

PERIOD_S = 0.05


def bad(kind: str, names: tuple[str, ...], home: tuple[float, ...]) -> tuple[ActionChunk, tuple[str, ...]]:
    """A chunk that holds the home pose but for what `kind` says is wrong with it, and the joint names it claims."""
    now = time.monotonic_ns()
    rows = np.tile(np.array(home), (16, 1))
    t0 = now
    match kind:
        case "nan":
            rows[7, 2] = np.nan
        case "order":
            names = names[::-1]
        case "stale":
            t0 = now - 10_000_000_000
        case "short":
            rows, names = rows[:, :-1], names[:-1]
    return ActionChunk(now, t0, 50_000_000, rows, "flow"), names


def main(run_file: str, kind: str) -> None:
    """Publish at 20 Hz."""
    robot, keys = load(run_file).robot, read_keys(Path(run_file).with_name(KEYS))
    rclpy.init()
    node = Node(f"wrong_{kind}")
    publisher = node.create_publisher(message_class(POLICY_CHUNK.type), POLICY_CHUNK.name, every(POLICY_CHUNK))
    while rclpy.ok():
        chunk, names = bad(kind, robot.joint_names, robot.q_home)
        message = to_message(chunk, make, names)
        seal(message, POLICY_CHUNK.name, keys, time.monotonic_ns())
        publisher.publish(message)
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
