"""Milliseconds from the stamp of a message to its arrival at recorder_node, which records 2x640x480 at 30 Hz and joints, commands
and verdicts at 250 Hz (`recorder_feed`, a process of its own), pictures as H.264; and, shorter, every pixel of them.

`cpu_share` is what recorder_node takes of one core, encoding and writing included; `drops` are messages it had no room for,
`lost` those that never reached it though sent while it recorded. `robot-stack bench recorder=600`: for so many seconds.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import environ
from pathlib import Path
from struct import unpack_from

import numpy as np
import psutil

from benchmarks.harness import Result
from robot_stack import build
from robot_stack.config.collect import CollectSettings
from robot_stack.data.log import read_log
from robot_stack.discovery import environment
from robot_stack.domain import lease_domain
from robot_stack.graph import RECORDER_NODE, node
from robot_stack.nodes.operator import Operator
from robot_stack.processes import ProcessGroup
from robot_stack.seal import KEYS, read_keys

SECONDS, LOSSLESS_S, SETTLING_S, PATIENCE_S = 60.0, 30.0, 2.0, 60.0
FEED = Path(__file__).resolve().parent / "recorder_feed.py"


def main(arguments: Sequence[str]) -> list[Result]:
    """`arguments`: seconds, optional."""
    seconds = float(arguments[0]) if arguments else SECONDS
    return [measured("recorder", "h264", seconds), measured("recorder_lossless", "lossless", min(seconds, LOSSLESS_S))]


def measured(name: str, codec: str, seconds: float) -> Result:
    """One recording of `seconds` with `codec`, whose log is deleted when it has been looked at."""
    with tempfile.TemporaryDirectory() as folder, recorder(Path(folder), codec) as (operator, process, env):
        operator.expect(*(f"/{RECORDER_NODE}/{verb}" for verb in ("start", "stop", "status")))
        with feed(Path(folder) / "sent.npz", env):
            time.sleep(SETTLING_S)
            log = Path(operator.start_log(Path(folder) / "log", timeout_s=PATIENCE_S))
            begin, spent = time.monotonic(), _cpu_s(process)
            time.sleep(seconds)
            share = (_cpu_s(process) - spent) / (time.monotonic() - begin)
            status = operator.recorder_status(PATIENCE_S)
            operator.stop_log(PATIENCE_S)
        return _result(name, log, Path(folder) / "sent.npz", share, status["seconds"])


@contextmanager
def recorder(folder: Path, codec: str) -> Iterator[tuple[Operator, psutil.Process, dict[str, str]]]:
    """recorder_node of sim_arm with `codec`, as the graph starts it, who operates it, and the environment of their graph."""
    lease = lease_domain()
    added = environment({}, folder, lease.domain)
    environ.update({name: value for name, value in added.items() if name != "ROS_DOMAIN_ID"})
    build.save(build.Run(folder=str(folder), collect=CollectSettings(codec=codec)), folder / "run.yaml")
    env = {**environ, **added}
    processes = ProcessGroup(env, folder)
    processes.start(node(RECORDER_NODE, "recorder_node", str(folder / "run.yaml")))
    operator = Operator(lease.domain, read_keys(folder / KEYS))
    try:
        operator.lifecycle_state(RECORDER_NODE, PATIENCE_S)
        yield operator, psutil.Process(processes.pid(RECORDER_NODE)), env
    finally:
        operator.close()
        processes.stop([RECORDER_NODE])
        lease.release()


@contextmanager
def feed(sent: Path, env: dict[str, str]) -> Iterator[None]:
    """What the robot says, for as long as the block runs; the stamps go to `sent`."""
    command = [sys.executable, str(FEED), str(sent)]
    source = {**env, "PYTHONPATH": str(FEED.parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=source) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _result(name: str, path: Path, sent: Path, cpu_share: float, seconds: float) -> Result:
    log = read_log(path)
    found: dict[str, list[tuple[int, int]]] = {}
    for raw in log.stored():
        sec, nanosec = unpack_from("<iI", raw.data, 4)
        found.setdefault(raw.topic, []).append((sec * 10**9 + nanosec, raw.t_ns))
    times = {topic: np.array(rows) for topic, rows in found.items()}
    size = sum(file.stat().st_size for file in path.iterdir())
    extra = {
        "seconds": round(seconds, 1),
        "cpu_share": round(cpu_share, 3),
        "drops": sum(log.summary.drops.values()),
        "lost": {
            topic: n for topic, count in _missing(times, sent).items() if (n := count - log.summary.drops.get(topic, 0)) > 0
        },
        "messages": dict(log.summary.messages),
        "mebibytes_per_s": round(size / 2**20 / seconds, 2),
    }
    delays = np.concatenate([(rows[:, 1] - rows[:, 0]) / 1e6 for rows in times.values()])
    return Result(name, "ms", delays.tolist(), extra=extra)


def _missing(times: dict[str, np.ndarray], sent: Path) -> dict[str, int]:
    """By topic: sent between the first and the last message in the log, and not in it."""
    missing = {}
    with np.load(sent, allow_pickle=False) as stamps:
        for topic, rows in times.items():
            given = stamps[topic.strip("/").replace("/", ".")]
            meant = given[(given >= rows[0, 0]) & (given <= rows[-1, 0])]
            missing[topic] = int(len(np.setdiff1d(meant, rows[:, 0])))
    return missing
