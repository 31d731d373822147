"""A human's hand as chunks: whatever the device says goes through the same door, filter and log as a policy.

Beside a policy the human may intervene: the chunks themselves say that the clutch is pressed, held or given back, and arm_node
acts on that (`robot_stack.control.handover`), so a seal on them is a seal on it.
"""

import sys
import time

from robot_stack import build
from robot_stack.clock import nanoseconds
from robot_stack.data.wire import to_message
from robot_stack.errors import DriverError
from robot_stack.graph import TELEOP_CHUNK
from robot_stack.interfaces import Teleoperator
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.newest import NewestCommand, NewestJoints


class TeleopJob:
    """Asks the device once a replanning period; a hand off the device is silence, which makes arm_node stop the arm."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._names = run.robot.joint_names
        self._sayer = node.sayer
        self._joints = NewestJoints(node, self._names)
        self._command = NewestCommand(node, self._names)
        self._run = run
        self._chunks = node.publisher(TELEOP_CHUNK)
        self._scripted = run.teleop.kind in ("", "scripted")
        self._device: Teleoperator | None = None if self._scripted else self._open()
        period_s = run.settings.teleop_period_s if self._scripted else run.teleop.period_s
        self._loop = node.loop("teleop", nanoseconds(period_s), self._act)

    def activate(self) -> None:
        """Listen to the device; a scripted human begins its job anew."""
        if self._scripted:
            self._device = self._open()
        self._loop.start()

    def deactivate(self) -> None:
        """Stop listening."""
        self._loop.stop()

    def close(self) -> None:
        """Release the device."""
        if self._device is not None:
            self._device.close()

    def _open(self) -> Teleoperator:
        return build.teleoperator(self._run, lambda: self._joints.state, lambda: self._command.q)

    def _act(self, _: int) -> None:
        if self._device is None or self._joints.state is None:
            return
        try:
            chunk = self._device.act(time.monotonic_ns())
        except DriverError as error:
            self._sayer.say("device", str(error))
            return
        if chunk is not None:
            self._chunks.publish(to_message(chunk, make, self._names))


def make_job(node: ManagedNode) -> TeleopJob:
    """The job of a teleop_node configured by its run file."""
    return TeleopJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    sys.exit(run_node("teleop_node", make_job))
