"""Runs the policy on the newest observation. Untrusted: it may crash, stall or lie, and arm_node expects that."""

import math
import sys
import time
from collections.abc import Iterable

from robot_stack import build
from robot_stack.clock import nanoseconds, seconds
from robot_stack.data.wire import note_of, to_message
from robot_stack.diagnostics import Level, Reading
from robot_stack.errors import PolicyError
from robot_stack.graph import POLICY_CHOICE, POLICY_CHUNK
from robot_stack.interfaces import Policy
from robot_stack.nodes import gpu
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.newest import NewestFrames, NewestJoints
from robot_stack.observe import ObserveLimits, observe
from robot_stack.ongoing import Ongoing


class PolicyJob:
    """One decision every replanning period, or as fast as they come when one takes longer. Raises PolicyError on a bad bundle.

    A period and a camera's rate know nothing of each other: where the next pictures are nearer in time than the last ones, it
    waits for them, at most the period of the slowest camera, and decides as much later from then on: periods stay even.
    The parameter `instruction` may change at any time; each decision is noted with the one it was made on.
    """

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._names = run.robot.joint_names
        self._policy: Policy = build.policy(run)
        node.get_logger().info(f"engine: {getattr(self._policy, 'engine', self._policy)}")
        self._node = node
        node.text("instruction", run.instruction, self._refuses)
        self._latency_s, self._refused = 0.0, 0
        node.health.watch(lambda *_: self._readings())
        self._limits, self._ongoing = ObserveLimits(), Ongoing()
        self._sayer = node.sayer
        self._frames = NewestFrames(node, self._policy.cameras)
        self._joints = NewestJoints(node, self._names)
        self._picture_s = 1.0 / min((camera.rate_hz for camera in run.robot.cameras), default=math.inf)
        self._chunks = node.publisher(POLICY_CHUNK)
        self._choices = node.publisher(POLICY_CHOICE)
        self._loop = node.loop("decisions", nanoseconds(run.settings.policy_period_s), self._decide)

    def activate(self) -> None:
        """Start deciding."""
        self._loop.start()

    def deactivate(self) -> None:
        """Stop after the decision that runs now."""
        self._loop.stop()

    def close(self) -> None:
        """Nothing to give back."""

    def _decide(self, _: int) -> None:
        cameras, instruction = self._policy.cameras, self._node.text("instruction")
        asked_ns, frames, now_ns = time.monotonic_ns(), self._frames.fresh(self._picture_s), time.monotonic_ns()
        self._loop.postpone(now_ns - asked_ns)
        seen, missing, why = observe(frames, self._joints.recent(), cameras, now_ns, self._limits, instruction)
        if seen is None:
            self._refused += 1
            self._sayer.say(str(missing), f"no decision: {why}")
            return
        seen = self._ongoing.before(seen)
        try:
            choice = self._policy.decide(seen)
        except PolicyError as error:
            self._refused += 1
            self._sayer.say("policy", f"no decision: {error}")
            return
        done_ns = time.monotonic_ns()
        self._latency_s = latency_s = seconds(done_ns - now_ns)
        self._ongoing.after(choice.chunk, done_ns)
        self._chunks.publish(to_message(choice.chunk, make, self._names))
        self._choices.publish(to_message(note_of(choice, latency_s, seen), make))

    def _refuses(self, instruction: str) -> str:
        """Why the policy cannot be told `instruction`; "": it can."""
        if not instruction.strip():
            return "allowed a text that is not empty"
        manifest = getattr(self._policy, "manifest", None)
        known = "" if manifest is None or manifest.tokens else manifest.instruction
        if known and instruction != known:
            return f"allowed {known!r}: this policy was trained on that one only"
        return self._node.door.refuses(f"instruction {instruction}")

    def _readings(self) -> Iterable[Reading]:
        refused, self._refused = self._refused, 0
        values: dict[str, float | int | str] = {
            "latency_ms": round(1e3 * self._latency_s, 2),
            "without": refused,
            "instruction": self._node.text("instruction"),
        }
        yield Reading("policy", Level.WARN if refused else Level.OK, f"{refused} looks without a decision", values)
        yield from gpu.readings()


def make_job(node: ManagedNode) -> PolicyJob:
    """The job of a policy_node configured by its run file."""
    return PolicyJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    sys.exit(run_node("policy_node", make_job))
