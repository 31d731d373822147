"""The hot standby: says all the time what it would do, from the measured joints alone, so that taking over costs no start-up."""

import sys
import time

from robot_stack import build
from robot_stack.clock import nanoseconds
from robot_stack.data.wire import to_message
from robot_stack.graph import FALLBACK_COMMAND
from robot_stack.interfaces import FallbackController
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.newest import NewestJoints


class FallbackJob:
    """One command a control period for as long as the joints are fresh; silent otherwise, and then arm_node brakes by itself."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._names = run.robot.joint_names
        self._controller: FallbackController = build.fallback(run)
        self._stale_ns = nanoseconds(run.safety.joints_stale_s)
        self._joints = NewestJoints(node, self._names)
        self._commands = node.publisher(FALLBACK_COMMAND)
        self._loop = node.loop("fallback", run.robot.dt_ns, self._say)

    def activate(self) -> None:
        """Start saying."""
        self._loop.start()

    def deactivate(self) -> None:
        """Fall silent."""
        self._loop.stop()

    def close(self) -> None:
        """Nothing to give back."""

    def _say(self, _: int) -> None:
        now_ns = time.monotonic_ns()
        joints = self._joints.state
        if joints is not None and now_ns - joints.t_ns <= self._stale_ns:
            self._commands.publish(to_message(self._controller.command(joints, now_ns), make, self._names))


def make_job(node: ManagedNode) -> FallbackJob:
    """The job of a fallback_node configured by its run file."""
    return FallbackJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    sys.exit(run_node("fallback_node", make_job))
