"""A human's hand as chunks: whatever the device says goes through the same door, filter and log as a policy."""

import sys
import time
from functools import partial

from robot_stack import build
from robot_stack.clock import nanoseconds
from robot_stack.data.wire import to_message
from robot_stack.errors import DriverError
from robot_stack.graph import TELEOP_CHUNK
from robot_stack.interfaces import Teleoperator
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make, message_class
from robot_stack.nodes.newest import NewestJoints
from robot_stack.nodes.periodic import Periodic
from robot_stack.nodes.qos import every
from robot_stack.nodes.sayer import Sayer


class TeleopJob:
    """Asks the device once a replanning period; a hand off the device is silence, which makes arm_node stop the arm."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._node = node
        self._names = run.robot.joint_names
        self._sayer = Sayer(node.get_logger())
        self._joints = NewestJoints(node, self._names, self._sayer)
        self._run = run
        self._period_ns = nanoseconds(run.settings.policy_period_s)
        self._chunks = node.publisher(message_class(TELEOP_CHUNK.type), TELEOP_CHUNK.name, every(TELEOP_CHUNK))
        self._thread: Periodic | None = None

    def activate(self) -> None:
        """Take up the device anew; a scripted human begins its job again."""
        device = build.teleoperator(self._run, lambda: self._joints.state)
        self._thread = Periodic("teleop", self._period_ns, partial(self._act, device), self._node.fail)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop listening."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def close(self) -> None:
        """Nothing to give back."""

    def _act(self, device: Teleoperator, _: int) -> None:
        if self._joints.state is None:
            return
        try:
            chunk = device.act(time.monotonic_ns())
        except DriverError as error:
            self._sayer.say("device", str(error))
            return
        if chunk is not None:
            self._chunks.publish(to_message(chunk, make, self._names))


def make_job(node: ManagedNode) -> TeleopJob:
    """The job of a teleop_node configured by its run file."""
    return TeleopJob(node, build.load(node.text("config")))


if __name__ == "__main__":
    sys.exit(run_node("teleop_node", make_job))
