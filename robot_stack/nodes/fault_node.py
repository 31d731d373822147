"""A policy of this run gone wrong: sends the bad chunks it is told to on its standard input, one line each: KIND or KIND SECONDS.

It answers when, on its standard output: CLOCK_MONOTONIC in ns just before the first chunk went out, and how many there were.
Part of `robot-stack fault` and `robot-stack bench faults`, of no other graph.
"""

import sys
import threading
import time

from robot_stack import build
from robot_stack.control import TELEOP_SOURCE
from robot_stack.data.wire import chunk_value, to_message
from robot_stack.faults.messages import SOURCE, bad_chunk
from robot_stack.graph import POLICY_CHUNK
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.types import ActionChunk

BETWEEN_S = 0.05
"""A chunk goes out this long after one of the policy: a newer one that waits in arm_node would replace it unread."""


class FaultJob:
    """Listens to the policy for what a good chunk is, and to its standard input for what to make of it."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._names = run.robot.joint_names
        self._good: ActionChunk | None = None
        self._heard = threading.Event()
        self._chunks = node.publisher(POLICY_CHUNK)
        node.subscribe(POLICY_CHUNK, self._take)

    def activate(self) -> None:
        """Obey from now on."""
        threading.Thread(target=self._obey, name="faults", daemon=True).start()

    def deactivate(self) -> None:
        """Nothing to stop: the thread waits for words."""

    def close(self) -> None:
        """Nothing to give back."""

    def _take(self, message: object) -> None:
        chunk = chunk_value(message, self._names)
        if chunk.source not in (SOURCE, TELEOP_SOURCE):
            self._good = chunk
            self._heard.set()

    def _obey(self) -> None:
        for line in sys.stdin:
            kind, _, lasting = line.strip().partition(" ")
            self._heard.clear()
            self._heard.wait()
            time.sleep(BETWEEN_S)
            begin_ns = time.monotonic_ns()
            count = self._send(kind, begin_ns + round(float(lasting or 0) * 1e9))
            print(begin_ns, count, flush=True)

    def _send(self, kind: str, until_ns: int) -> int:
        """Chunks of `kind`: one, or as many as there is time for until `until_ns`."""
        count, good = 0, self._good
        while good is not None and (count == 0 or time.monotonic_ns() < until_ns):
            chunk, names = bad_chunk(kind, good, self._names, time.monotonic_ns())
            self._chunks.publish(to_message(chunk, make, names))
            count += 1
        return count


def make_job(node: ManagedNode) -> FaultJob:
    """The job of a fault_node configured by its run file."""
    return FaultJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    sys.exit(run_node("fault_node", make_job))
