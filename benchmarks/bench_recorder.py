"""Milliseconds from the stamp of a message to its place in the log's buffer, while the whole graph is recorded.

`cpu_share` is what recorder_node takes of one core; `drops` are messages that found the buffer full; `lost` are ticks of which
the log has the command or the verdict but not both, so lost on the way.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.harness import Result
from benchmarks.live import ARM_S, bundle_or_still, live_graph
from robot_stack.data.log import read_log
from robot_stack.data.rosbags_messages import deserialize_cdr
from robot_stack.data.wire import stamp_ns
from robot_stack.graph import COMMAND, RECORDER_NODE, VERDICT

SECONDS = 20.0
STAMPED = (COMMAND.name, VERDICT.name, "/scene/image", "/wrist/image")


def main(arguments: Sequence[str]) -> Result:
    """`arguments`: a bundle folder, optional."""
    with bundle_or_still(arguments[0] if arguments else None) as bundle, live_graph(bundle) as graph:
        log = graph.directory / "log"
        recorder = psutil.Process(graph.processes.pid(RECORDER_NODE))
        graph.arm(timeout_s=ARM_S)
        graph.start_log(log)
        begin, spent = time.monotonic(), _cpu_s(recorder)
        time.sleep(SECONDS)
        share = (_cpu_s(recorder) - spent) / (time.monotonic() - begin)
        graph.stop_log()
        return _result(log, share)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _result(path: Path, cpu_share: float) -> Result:
    log = read_log(path)
    stamped = [(raw.topic, raw.t_ns, stamp_ns(deserialize_cdr(raw.data, raw.typename))) for raw in log.messages(STAMPED)]
    verdicts, commands = ({t_ns for topic, _, t_ns in stamped if topic == name} for name in (VERDICT.name, COMMAND.name))
    delays = [(written_ns - t_ns) / 1e6 for _, written_ns, t_ns in stamped]
    size = sum(file.stat().st_size for file in path.iterdir())
    extra = {
        "cpu_share": round(cpu_share, 3),
        "drops": sum(log.summary.drops.values()),
        "lost": len(verdicts ^ commands),
        "messages": dict(log.summary.messages),
        "mebibytes_per_s": round(size / 2**20 / SECONDS, 2),
    }
    return Result("recorder", "ms", delays, extra=extra)
