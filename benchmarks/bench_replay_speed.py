"""How much faster than real time verdicts are replayed on one core, and what an hour of log costs in memory.

Unit: seconds of log replayed in one second of processor time, a sample for each of `RUNS` replays of the golden log, in a
process of its own after one to warm up; `extra` has the same by the clock on the wall, which neighbours on the machine slow.
The long log is what arrived in the golden episode over and over, RESET between, decided in shadow: there a tick does not depend
on the command before it, so the second episode comes out again and again, at later times, without being decided anew. All its
verdicts must replay bit-equal. Memory is the resident set of the process that replays it, at each of `MINUTES`; the slope is
that of a line through all of them.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.harness import Result
from robot_stack.control import ControlState, control_step, unsent
from robot_stack.data.log import LogWriter
from robot_stack.data.log_reader import read_log
from robot_stack.demo.cache import stage
from robot_stack.interfaces import Safety
from robot_stack.replay.verdicts import safety_of
from robot_stack.types import Request, Step, TickInputs

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "frozen"
MINUTES = (1, 2, 5, 10, 20, 30, 40, 50, 60)
RUNS = 20
TARGET = 20.0
CODE = ("robot_stack", "robot_stack/data", "safety")
REPLAY = """
import json, psutil, sys, time
from pathlib import Path
from robot_stack.data.log_reader import read_log
from robot_stack.replay.verdicts import replay_verdicts, safety_of
log, runs, minutes = read_log(Path(sys.argv[1])), int(sys.argv[2]), json.loads(sys.argv[3])
safety, decided = safety_of(log), 0
marks = {round(60e9 * m / safety.dt_ns): m for m in minutes}
class Counted:
    dt_ns, check = safety.dt_ns, staticmethod(safety.check)
    def arbitrate(self, *asked):
        global decided
        decided += 1
        if decided in marks:
            mib, span_s = psutil.Process().memory_info().rss / 2**20, 60 * marks[decided]
            spent = [span_s / (now() - then) for now, then in zip(CLOCKS, begin)]
            print(json.dumps({"minutes": marks[decided], "rss_mib": mib, "cpu": spent[0], "wall": spent[1]}), flush=True)
        return safety.arbitrate(*asked)
CLOCKS = (time.process_time, time.perf_counter)
for _ in range(runs):
    begin = [now() for now in CLOCKS]
    report = replay_verdicts(log, Counted() if marks else safety).require()
    spent = [report.ticks * safety.dt_ns / 1e9 / (now() - then) for now, then in zip(CLOCKS, begin)]
    print(json.dumps({"ticks": report.ticks, "cpu": spent[0], "wall": spent[1]}), flush=True)
"""
T = TypeVar("T")


def later(value: T, by_ns: int, *names: str) -> T:
    """`value` with the times `names` (default: t_ns) `by_ns` later; None stays."""
    return value if value is None else replace(value, **{n: getattr(value, n) + by_ns for n in names or ("t_ns",)})  # type: ignore[type-var]


def shifted(inputs: TickInputs, by_ns: int) -> TickInputs:
    """`inputs` with every time `by_ns` later."""
    return replace(
        inputs,
        joints=later(inputs.joints, by_ns),
        chunk=later(inputs.chunk, by_ns, "t_obs_ns", "t0_ns"),
        fallback=later(inputs.fallback, by_ns),
        score=later(inputs.score, by_ns),
        hazards=later(inputs.hazards, by_ns),
    )


def shifted_step(step: Step, by_ns: int) -> Step:
    """`step` with every time `by_ns` later."""
    said = step.verdict
    verdict = replace(later(said, by_ns), proposed=later(said.proposed, by_ns), command=later(said.command, by_ns))
    return replace(later(step, by_ns), inputs=shifted(step.inputs, by_ns), verdict=verdict)


def again_and_again(recorded: Sequence[Step], minutes: float, safety: Safety) -> Iterator[Step]:
    """The ticks of a log of `minutes`, and the few more that end its last episode."""
    span_ns = recorded[-1].t_ns - recorded[0].t_ns + safety.dt_ns
    state, steps = ControlState(), list(recorded)
    for repetition in range(int(minutes * 60e9 // span_ns) + 1):
        if repetition < 2:
            state, steps = decided(state, [shifted_step(step, repetition * span_ns) for step in recorded], safety)
        else:
            steps = [shifted_step(step, span_ns) for step in steps]
        yield from steps


def decided(state: ControlState, recorded: Sequence[Step], safety: Safety) -> tuple[ControlState, list[Step]]:
    """What arrived in `recorded` through the control loop in shadow, from RESET where an episode came before it."""
    steps = []
    for i, step in enumerate(recorded):
        again = state.joints is not None and not i
        inputs = replace(step.inputs, request=Request.RESET) if again else step.inputs
        state, now = control_step(state, inputs, step.t_ns, 0, safety)
        state = unsent(state)
        steps.append(now)
    return state, steps


def write_long(folder: Path, minutes: float) -> None:
    """A log of `minutes` in `folder`/log."""
    golden = read_log(GOLDEN)
    settings = {**golden.metadata.settings, "policy": {"shadow": True}}
    with LogWriter(folder / "log", replace(golden.metadata, settings=settings), buffer_bytes=2**30) as log:
        for step in again_and_again(list(golden.steps()), minutes, safety_of(golden)):
            log.write_value("/arm/verdict", step.t_ns, step)
            if step.inputs.chunk is not None:
                log.write_value("/teleop/chunk", step.t_ns, step.inputs.chunk)


def replayed(log: Path, runs: int, minutes: Sequence[float] = ()) -> list[dict[str, Any]]:
    """What a process of its own measured while it replayed `log` `runs` times, and when it had come to `minutes` of it."""
    command = [sys.executable, "-c", REPLAY, str(log), str(runs), json.dumps(list(minutes))]
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            rows.append(json.loads(line))
            print(line, end="", flush=True) if minutes else None
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return rows


def main(arguments: Sequence[str] = (), minutes: Sequence[float] = MINUTES) -> Result:
    """The speed on the golden log, and memory at `minutes` of a long one, which is kept in `runs/bench`."""
    length = max(minutes)
    made = stage(Path("runs/bench"), "long_log", [length, str(GOLDEN)], CODE, lambda out: write_long(out, length))
    *rows, whole = replayed(made.folder / "log", 1, minutes)
    slope, _ = np.polyfit([row["minutes"] / 60 for row in rows], [row["rss_mib"] for row in rows], 1)
    short = replayed(GOLDEN, RUNS + 1)[1:]
    samples = [run["cpu"] for run in short]
    extra = {
        "times_real_time": float(np.median(samples)),
        "times_real_time_by_the_wall": float(np.median([run["wall"] for run in short])),
        "target": TARGET,
        "memory_slope_mib_per_hour": float(slope),
        "long_log": {**whole, "minutes": length},
        "rows": rows,
    }
    return Result("replay_speed", "s of log / s of CPU", samples, extra=extra)
