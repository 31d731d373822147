"""Watches the cameras and what the policy chose: a failure score every cycle, frames or none, and the hazards found."""

import sys
import time

from robot_stack import build
from robot_stack.clock import nanoseconds
from robot_stack.data.wire import to_message
from robot_stack.graph import HAZARDS, SCORE
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.newest import NewestChoice, NewestFrames


class MonitorJob:
    """Monitor and detector on the newest values. A camera that is silent is a cause in the score, never a missing score."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._monitor = build.monitor(run)
        self._detector = build.detector(run)
        self._watched = self._monitor.start()
        self._tracked = self._detector.start()
        self._frames = NewestFrames(node, [c.name for c in run.robot.cameras])
        self._choice = NewestChoice(node)
        self._scores = node.publisher(SCORE)
        self._hazards = node.publisher(HAZARDS)
        self._loop = node.loop("monitor", nanoseconds(1.0 / run.monitor.rate_hz), self._watch)

    def activate(self) -> None:
        """Start watching."""
        self._loop.start()

    def deactivate(self) -> None:
        """Stop watching: arm_node takes silence for an alarm."""
        self._loop.stop()

    def close(self) -> None:
        """Nothing to give back."""

    def _watch(self, _: int) -> None:
        now_ns = time.monotonic_ns()
        frames = self._frames.all()
        if (frame := frames.get(self._detector.camera)) is not None:
            self._tracked, hazards = self._detector.track(self._tracked, frame, now_ns)
            if hazards is not None:
                self._hazards.publish(to_message(hazards, make))
        self._watched, score = self._monitor.update(self._watched, frames, now_ns, self._choice.note)
        self._scores.publish(to_message(score, make))


def make_job(node: ManagedNode) -> MonitorJob:
    """The job of a monitor_node configured by its run file."""
    return MonitorJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    sys.exit(run_node("monitor_node", make_job))
