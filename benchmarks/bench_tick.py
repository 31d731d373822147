"""Microseconds each control tick begins after its deadline: 30 s at 100 Hz in the running graph, with and without SCHED_FIFO.

The arm is with the policy, every other process runs: this is the load arm_node has on the robot. The two kinds take turns.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Result
from benchmarks.live import ARM_S, bundle_or_still, live_graph
from robot_stack.data.log import read_log

SECONDS, TURNS, PRIORITY = 30.0, 2, 50


def main(arguments: Sequence[str]) -> Result:
    """`arguments`: a bundle folder, optional. With real-time priority, against normal scheduling."""
    samples: dict[int, list[float]] = {PRIORITY: [], 0: []}
    said: dict[int, str] = {}
    with bundle_or_still(arguments[0] if arguments else None) as bundle:
        for _ in range(TURNS):
            for priority in samples:
                lateness, said[priority] = _measure(bundle, priority, SECONDS / TURNS)
                samples[priority] += lateness
    extra = {"rate_hz": 100, "ticks_missed": {said[p]: _missed(samples[p]) for p in samples}, "scheduling": said[PRIORITY]}
    return Result("tick", "us", samples[PRIORITY], {"normal scheduling": samples[0]}, extra)


def _measure(bundle: Path, priority: int, seconds: float) -> tuple[list[float], str]:
    with live_graph(bundle, f"run.fifo_priority={priority}") as graph:
        log = graph.directory / "log"
        graph.arm(timeout_s=ARM_S)
        graph.start_log(log)
        time.sleep(seconds)
        graph.stop_log()
        said = graph.processes.tail("arm_node", 100).partition(" Hz, ")[2].partition("\n")[0]
        return [step.lateness_ns / 1e3 for step in read_log(log).steps()], said


def _missed(lateness_us: list[float]) -> int:
    """Deadlines that passed altogether while a tick was late."""
    return sum(int(late // 10_000) for late in lateness_us)
