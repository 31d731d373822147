"""Microseconds each control tick begins after its deadline, at 100, 250 and 500 Hz, idle and with two busy neighbours.

The figure: the running graph at 250 Hz under SCHED_FIFO with two busy neighbours, the arm with the policy, against the other
ways to run the same graph. `extra.rows`: those, and the tick by itself in our thread beside rclpy timers of each executor
(`benchmarks/ticking.py`). `extra.targets`: what was wanted, what was found. About four minutes; `bench tick short` one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, summary
from benchmarks.live import ARM_S, bundle_or_still, live_graph
from benchmarks.ticking import KINDS, PRIORITY
from robot_stack.config.robot_file import FOLDER
from robot_stack.data.log import read_log
from robot_stack.discovery import environment
from robot_stack.domain import lease_domain

RATES, GRAPH_RATES, NEIGHBOURS = (100, 250, 500), (100, 250), 2
SECONDS, GRAPH_SECONDS = 2.5, 6.0
LOADS = ("idle", "busy")
TARGETS = (("fifo", "busy", 100.0), ("thread", "idle", 1000.0))
"""At 250 Hz: kind, load, the largest p99 wanted (us)."""


def main(arguments: Sequence[str]) -> Result:
    """`arguments`: a bundle folder, optional, and `short`, optional."""
    given = [word for word in arguments if word != "short"]
    share = 0.25 if "short" in arguments else 1.0
    rows = [row for load in LOADS for row in _alone(load, SECONDS * share)]
    with bundle_or_still(given[0] if given else None) as bundle:
        live = {key: late for rate in GRAPH_RATES for key, late in _in_graph(bundle, rate, GRAPH_SECONDS * share).items()}
    rows += [
        {"kind": f"graph {kind}", "rate_hz": rate, "load": load, **summary(late), "missed": _missed(late, rate)}
        for (kind, rate, load), late in live.items()
    ]
    against = {f"{kind} {rate} Hz {load}": late for (kind, rate, load), late in live.items()}
    ours = against.pop("fifo 250 Hz busy")
    return Result("tick", "us", ours, against, {"neighbours": NEIGHBOURS, "targets": _targets(rows), "rows": rows})


def _targets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    wanted = [(f"{where}{kind}", load, most) for kind, load, most in TARGETS for where in ("", "graph ")]
    found = {(row["kind"], row["load"]): row["p99"] for row in rows if row["rate_hz"] == 250}
    return [
        {"kind": kind, "rate_hz": 250, "load": load, "p99": found[kind, load], "allowed": most, "met": found[kind, load] <= most}
        for kind, load, most in wanted
    ]


def _alone(load: str, seconds: float) -> Iterator[dict[str, Any]]:
    """The tick by itself, each kind in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, _busy(NEIGHBOURS if load == "busy" else 0):
        lease = lease_domain()
        env = {**os.environ, **environment({}, Path(folder), lease.domain)}
        for kind in KINDS:
            command = [sys.executable, "-m", "benchmarks.ticking", kind, str(seconds), *map(str, RATES)]
            said = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            yield from ({**json.loads(line), "load": load} for line in said.stdout.splitlines())
        lease.release()


def _in_graph(bundle: Path, rate_hz: int, seconds: float) -> dict[tuple[str, int, str], list[float]]:
    """The running graph at `rate_hz`, with and without SCHED_FIFO, idle and then busy."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        robot = Path(folder) / "robot.yaml"
        robot.write_text((FOLDER / "sim_arm.yaml").read_text().replace("control_rate_hz: 100.0", f"control_rate_hz: {rate_hz}.0"))
        for kind, priority in (("fifo", PRIORITY), ("thread", 0)):
            with live_graph(bundle, f"robot={robot}", f"run.fifo_priority={priority}") as graph:
                graph.arm(timeout_s=ARM_S)
                for load in LOADS:
                    log = graph.directory / load
                    with _busy(NEIGHBOURS if load == "busy" else 0):
                        graph.start_log(log)
                        time.sleep(seconds)
                        graph.stop_log()
                    found[kind, rate_hz, load] = [step.lateness_ns / 1e3 for step in read_log(log).steps()]
    return found


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    neighbours = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def _missed(lateness_us: Sequence[float], rate_hz: int) -> int:
    """Deadlines that passed altogether while a tick was late."""
    return sum(int(late * rate_hz / 1e6) for late in lateness_us)
