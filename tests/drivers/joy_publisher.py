"""A foreign joy_node: publishes sensor_msgs/Joy on the topic of its argument at 50 Hz, as its input says: `axes | buttons`."""

import sys
import threading

import rclpy
from sensor_msgs.msg import Joy


def main() -> None:
    """Publishes until its input ends."""
    rclpy.init(args=[])
    node = rclpy.create_node("foreign_joy")
    publisher = node.create_publisher(Joy, sys.argv[1], 10)
    said = Joy(axes=[0.0] * 8, buttons=[0] * 11)
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(0.02):
            said.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(said)

    thread = threading.Thread(target=publish)
    thread.start()
    for line in sys.stdin:
        axes, _, buttons = line.partition("|")
        said.axes, said.buttons = [float(word) for word in axes.split()], [int(word) for word in buttons.split()]
    ended.set()
    thread.join()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
