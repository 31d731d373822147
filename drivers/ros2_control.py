"""An Arm behind ros2_control: commands to one of its controllers, states from `joint_state_broadcaster`.

A joint_trajectory_controller gets one point a tick, positions alone: it refuses a trajectory that ends with a velocity.
"""

import time
from array import array
from typing import Any

import numpy as np
from rclpy.duration import Duration
from sensor_msgs.msg import JointState as JointStateMessage
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from drivers.refusal import check_command
from drivers.ros_node import RosNode
from robot_stack.errors import DriverError
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, JointCommand, JointState, SafeCommand

_POLL_S = 0.01


class Ros2ControlArm:
    """The arm of `robot.controller` in ROS domain `domain` (-1: ROS_DOMAIN_ID's).

    Raises DriverError unless states come and the controller listens within its `wait_s`.
    """

    def __init__(self, robot: RobotSpec, domain: int = -1) -> None:
        self.joint_names = robot.joint_names
        self._settings = robot.controller
        self._state: JointState | None = None
        self._stamp: tuple[int, int] | None = None
        self._ros = RosNode(f"{robot.name}_driver", domain)
        self._ros.node.create_subscription(JointStateMessage, self._settings.states, self._take, 1)
        self._topic, kind = _command_topic(self._settings.name, self._settings.kind)
        self._publisher = self._ros.node.create_publisher(kind, self._topic, 1)
        self._ros.start()
        try:
            self._wait()
        except BaseException:
            self._ros.close()
            raise

    def read(self) -> JointState:
        """The newest state that was heard; its stamp is when. Raises DriverError once none came for `lost_s`."""
        state = self._state
        if self._ros.closed or state is None:
            raise DriverError("ros2_control: closed; connect again")
        if (age_s := (time.monotonic_ns() - state.t_ns) / 1e9) > self._settings.lost_s:
            raise DriverError(
                f"ros2_control: no state on {self._settings.states} for {age_s:.2f} s, allowed {self._settings.lost_s} s; "
                "is ros2_control_node running, joint_state_broadcaster active?"
            )
        return state

    def send(self, command: SafeCommand) -> None:
        """One command to the controller. Raises DriverError when non-finite, of the wrong length, or nobody is there."""
        check_command(command, self.joint_names, "ros2_control")
        self.read()
        self._publish(command)

    def close(self) -> None:
        """The controller holds the arm where it is. Closing twice is allowed."""
        try:
            state = self.read()
            self._publish(JointCommand(state.t_ns, state.q))
        except DriverError:
            pass
        self._ros.close()

    def _publish(self, command: JointCommand) -> None:
        q = array("d", command.q.tobytes())
        if self._settings.kind == "forward_command":
            self._publisher.publish(Float64MultiArray(data=q))
            return
        point = JointTrajectoryPoint(positions=q)
        point.time_from_start = Duration(nanoseconds=round(self._settings.reach_s * 1e9)).to_msg()
        self._publisher.publish(JointTrajectory(joint_names=list(self.joint_names), points=[point]))

    def _take(self, message: Any) -> None:
        """A joint state of others, new and of all our joints, becomes the state. arm_node publishes its own on the same topic."""
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        if message.header.frame_id.startswith("q ") or message.header.frame_id == "q" or stamp == self._stamp:
            return
        place = {name: i for i, name in enumerate(message.name)}
        if len(message.position) < len(place) or not place.keys() >= set(self.joint_names):
            return
        order = [place[name] for name in self.joint_names]
        now_ns, q = time.monotonic_ns(), np.array(message.position)[order]
        qd = _ordered(message.velocity, order)
        if qd is None:
            qd = self._difference(q, now_ns)
        if np.isfinite(q).all() and np.isfinite(qd).all():
            self._stamp, self._state = stamp, JointState(now_ns, q, qd, _ordered(message.effort, order))

    def _difference(self, q: Array, now_ns: int) -> Array:
        """Speeds (J,) where the broadcaster has none: from the last two states."""
        if self._state is None:
            return np.zeros_like(q)
        return np.asarray((q - self._state.q) / max(1e-3, (now_ns - self._state.t_ns) / 1e9))

    def _wait(self) -> None:
        until = time.monotonic() + self._settings.wait_s
        while self._state is None or not self._publisher.get_subscription_count():
            if time.monotonic() > until:
                lacks = f"no state of {self.joint_names} on {self._settings.states}" if self._state is None else ""
                lacks = lacks or f"nobody listens on {self._topic}"
                raise DriverError(
                    f"ros2_control: {lacks} within {self._settings.wait_s} s; start its controllers "
                    "(`ros2 control list_controllers` shows them) on the same ROS_DOMAIN_ID"
                )
            time.sleep(_POLL_S)


def _command_topic(name: str, kind: str) -> tuple[str, Any]:
    """Where the controller `name` listens, and to which message."""
    if kind == "forward_command":
        return f"/{name}/commands", Float64MultiArray
    return f"/{name}/joint_trajectory", JointTrajectory


def _ordered(values: Any, order: list[int]) -> Array | None:
    """`values` in our order; None unless there is a finite one for each joint."""
    found = np.array(values, dtype=np.float64)
    if found.size <= max(order) or not np.isfinite(found[order]).all():
        return None
    return np.asarray(found[order])
