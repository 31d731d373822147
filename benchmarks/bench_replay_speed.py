"""How much faster than real time verdicts are replayed on one core, and what an hour of log costs in memory.

Unit: seconds of log replayed in one second of processor time, a sample for each of `RUNS` replays of the golden log, in a
process of its own after one to warm up. The long logs are the golden episode over and over: its inputs at later times, RESET
between, through the control loop of the robot, so that every verdict replays bit-equal. Memory is the largest resident set of a
process that replays one of them; its slope is that of a line through all lengths.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import Result
from robot_stack.control import ControlState, control_step
from robot_stack.data.log import LogWriter
from robot_stack.data.log_reader import read_log
from robot_stack.demo.cache import stage
from robot_stack.replay.verdicts import safety_of
from robot_stack.types import Request, Step, TickInputs

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "frozen"
MINUTES = (1, 5, 20, 60)
RUNS = 20
TARGET = 20.0
CODE = ("robot_stack", "robot_stack/data", "safety")
REPLAY = """
import json, resource, sys, time
from pathlib import Path
from robot_stack.data.log_reader import read_log
from robot_stack.replay.verdicts import replay_verdicts, safety_of
log = read_log(Path(sys.argv[1]))
safety, spent = safety_of(log), []
for _ in range(int(sys.argv[2])):
    begin = time.process_time()
    report = replay_verdicts(log, safety).require()
    spent.append(time.process_time() - begin)
span_s = report.ticks * safety.dt_ns / 1e9
peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"times_real_time": [span_s / s for s in spent], "peak_mib": peak_mib, "span_s": span_s}))
"""


def shifted(inputs: TickInputs, by_ns: int) -> TickInputs:
    """`inputs` with every time `by_ns` later."""

    def later(value: object, *names: str) -> object:
        return None if value is None else replace(value, **{n: getattr(value, n) + by_ns for n in names})  # type: ignore[type-var]

    return TickInputs(
        later(inputs.joints, "t_ns"),
        later(inputs.chunk, "t_obs_ns", "t0_ns"),
        later(inputs.fallback, "t_ns"),
        later(inputs.score, "t_ns"),
        later(inputs.hazards, "t_ns"),
        inputs.request,
        inputs.refused,
    )  # type: ignore[arg-type]


def again_and_again(recorded: Sequence[Step], minutes: float, dt_ns: int) -> Iterator[tuple[int, TickInputs]]:
    """Time and inputs of each tick: `recorded` repeated for `minutes`; a repetition begins with RESET."""
    span_ns = recorded[-1].t_ns - recorded[0].t_ns + dt_ns
    for repetition in range(round(minutes * 60e9 / span_ns) or 1):
        for i, step in enumerate(recorded):
            inputs = shifted(step.inputs, repetition * span_ns)
            yield step.t_ns + repetition * span_ns, replace(inputs, request=Request.RESET) if repetition and not i else inputs


def write_long(folder: Path, minutes: float) -> None:
    """A log of `minutes` in `folder`/log."""
    golden = read_log(GOLDEN)
    safety, state = safety_of(golden), ControlState()
    with LogWriter(folder / "log", golden.metadata, buffer_bytes=2**30) as log:
        for t_ns, inputs in again_and_again(list(golden.steps()), minutes, safety.dt_ns):
            state, step = control_step(state, inputs, t_ns, 0, safety)
            log.write_value("/arm/verdict", t_ns, step)
            if inputs.chunk is not None:
                log.write_value("/teleop/chunk", t_ns, inputs.chunk)


def replayed(log: Path, runs: int) -> dict[str, object]:
    """What a process of its own measured while it replayed `log` `runs` times."""
    command = [sys.executable, "-c", REPLAY, str(log), str(runs)]
    answer: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return answer


def main(arguments: Sequence[str] = (), minutes: Sequence[float] = MINUTES) -> Result:
    """The speed on the golden log, and memory on logs of `minutes`; those are kept in `runs/bench`."""
    lines = []
    for length in minutes:
        made = stage(
            Path("runs/bench"), "long_log", [length, str(GOLDEN)], CODE, lambda out, length=length: write_long(out, length)
        )
        found = replayed(made.folder / "log", 1)
        lines.append(
            {"minutes": found["span_s"] / 60, "peak_mib": found["peak_mib"], "times_real_time": found["times_real_time"][0]}
        )
        print(lines[-1], flush=True)
    slope = (
        np.polyfit([line["minutes"] / 60 for line in lines], [line["peak_mib"] for line in lines], 1)[0]
        if len(lines) > 1
        else None
    )
    samples = replayed(GOLDEN, RUNS + 1)["times_real_time"][1:]
    extra = {
        "times_real_time": float(np.median(samples)),
        "target": TARGET,
        "memory_slope_mib_per_hour": None if slope is None else float(slope),
        "rows": lines,
    }
    return Result("replay_speed", "s of log / s of CPU", samples, extra=extra)
