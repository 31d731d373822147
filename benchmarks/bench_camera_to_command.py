"""Milliseconds from the capture of a picture to the first command that uses a chunk decided on it, in the running graph.

The age of the oldest input of the decision: rendering and shared memory, camera_node, transport, waiting for the policy's
turn, inference, transport, waiting for the tick.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Result
from benchmarks.live import ARM_S, bundle_or_still, live_graph
from robot_stack.data.log import read_log
from robot_stack.data.wire import ChoiceNote

SECONDS = 20.0


def main(arguments: Sequence[str]) -> Result:
    """`arguments`: a bundle folder, optional."""
    with bundle_or_still(arguments[0] if arguments else None) as bundle, live_graph(bundle) as graph:
        log = graph.directory / "log"
        graph.arm(timeout_s=ARM_S)
        graph.start_log(log)
        time.sleep(SECONDS)
        graph.stop_log()
        return _result(log)


def _result(path: Path) -> Result:
    log = read_log(path)
    taken = [(step.t_ns, step.inputs.chunk) for step in log.steps() if step.inputs.chunk is not None]
    ages = [(t_ns - chunk.t_obs_ns) / 1e6 for t_ns, chunk in taken]
    notes = [value for _, _, value in log.iterate({"/policy/choice"}) if isinstance(value, ChoiceNote)]
    latency = sorted(1e3 * note.latency_s for note in notes)
    return Result("camera_to_command", "ms", ages, extra={"chunks": len(ages), "inference_p50_ms": latency[len(latency) // 2]})
