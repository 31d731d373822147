"""Every fault of `robot-stack fault`, and those that need a graph of their own: how long until the arm is safe.

Real processes with settings as they ship and a policy that swings the arm; the table is in `robot_stack.faults.table`, what is
timed in its `Expect`. `RUNS=20` trials of each; every one is kept as it ends in runs/bench/faults-<hash of the code>.jsonl, so
that an interrupted run goes on where it was. `robot-stack bench faults`, or `RUNS=3 python -m benchmarks.bench_faults NAME...`.

Unit: seconds from the fault to the safe state, of all faults that must come to one. `extra`: `faults` (how many there are),
`missed` (how many came out otherwise than the table says, or later), `rows` (each of them: expected and found, p50 and max of
what is timed against its bound, commands out of limits, whether the logs were closed and hold every tick up to the fault, and
what was said).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_graphs import graph_on_an_island, graph_with_a_date, plain_graph, swinging_bundle
from benchmarks.fault_servos import CASES as SERVO_CASES
from benchmarks.fault_servos import servo_trial
from benchmarks.harness import Result, keep, ledger_rows, store, table
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import RobotStackError
from robot_stack.faults.campaign import Campaign
from robot_stack.faults.plant import Plant
from robot_stack.faults.table import Expect, FaultCase, Means, cases
from robot_stack.faults.trial import Outcome

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "runs" / "bench"
TESTED = ("robot_stack/**/*.py", *(f"{name}/*.py" for name in ("policies", "safety", "drivers")), "benchmarks/*fault*.py")
TO_SAFETY = frozenset({Expect.SAFE, Expect.AT_REST, Expect.REFUSED})
ATTEMPTS = 3
"""A graph that broke is started again so often for one fault."""
ISLAND = "--island"


class Ledger:
    """What has been measured, one JSON object a line: trials, and judged logs."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def trials(self, name: str) -> list[dict[str, Any]]:
        """The trials of the fault `name` so far."""
        return [row for row in ledger_rows(self.file) if row["fault"] == name and "took_s" in row]

    def logs(self, name: str) -> list[dict[str, Any]]:
        """The judged logs of the fault `name` so far."""
        return [row for row in ledger_rows(self.file) if row["fault"] == name and "commands" in row]

    def add(self, outcome: Outcome, spent_s: float) -> None:
        """Keep one trial, which took `spent_s` in all."""
        took = {"took_s": outcome.took_s, "as_expected": outcome.as_expected, "mode": outcome.mode.value, "said": outcome.said}
        self.put({"fault": outcome.fault, **took, "spent_s": round(spent_s, 3)})
        print(f"{outcome} [{spent_s:.1f} s]", flush=True)

    def put(self, row: dict[str, Any]) -> None:
        """Keep one line."""
        keep(self.file, row)


def code_hash() -> str:
    """What is tested, in 12 hexadecimal digits."""
    files = sorted({file for pattern in TESTED for file in ROOT.glob(pattern)})
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def on_a_graph(
    start: Callable[[Path, Path], AbstractContextManager[Plant]],
    todo: Sequence[FaultCase],
    runs: int,
    ledger: Ledger,
    folder: Path,
) -> None:
    """`runs` trials in all of each of `todo` on graphs made by `start`; a graph that breaks is started again."""
    bundle, tried = swinging_bundle(FOLDER / f"faults_bundle-{code_hash()}"), dict.fromkeys((case.name for case in todo), 0)
    while left := [c for c in todo if len(ledger.trials(c.name)) < runs and tried[c.name] < ATTEMPTS]:
        tried[left[0].name] += 1
        try:
            with start(bundle, folder) as plant:
                for case in left:
                    measure(plant, case, runs - len(ledger.trials(case.name)), ledger)
        except RobotStackError as error:
            print(f"the graph is started again: {error}", flush=True)


def measure(plant: Plant, case: FaultCase, times: int, ledger: Ledger) -> None:
    """`times` trials of `case`, kept as they end; what its logs show, at the end."""
    campaign, began_s = Campaign(plant, case, plant.folder), time.monotonic()
    try:
        for outcome in campaign.run(times):
            ledger.add(outcome, time.monotonic() - began_s)
            began_s = time.monotonic()
    finally:
        for found in campaign.verdicts:
            ledger.put(
                {"fault": case.name, "commands": found.ticks, "out_of_limits": found.out_of_limits, "missing": found.missing,
                 "closed": found.closed}
            )  # fmt: skip
            shutil.rmtree(found.log, ignore_errors=True)


def on_servos(wanted: Sequence[FaultCase], runs: int, ledger: Ledger) -> None:
    """`runs` trials in all of each of `wanted`, on simulated servos."""
    for case in wanted:
        for _ in range(runs - len(ledger.trials(case.name))):
            began_s = time.monotonic()
            outcome, commands, out = servo_trial(case)
            ledger.add(outcome, time.monotonic() - began_s)
            ledger.put({"fault": case.name, "commands": commands, "out_of_limits": out, "missing": 0, "closed": True})


def row(case: FaultCase, ledger: Ledger) -> dict[str, Any]:
    """The row of `case` in the table."""
    trials, logs = ledger.trials(case.name), ledger.logs(case.name)
    took = [float(trial["took_s"]) for trial in trials if np.isfinite(trial["took_s"])]
    worst = max(took, default=float("inf"))
    out = sum(log["out_of_limits"] for log in logs)
    well = len(took) == len(trials) > 0 and all(trial["as_expected"] for trial in trials) and worst <= case.bound_s + 1e-9
    whole = all(log["missing"] == 0 and (log["closed"] or case.ends_log) for log in logs)
    return {
        "fault": case.name, "how": case.how, "expected": case.expected, "modes": sorted({trial["mode"] for trial in trials}),
        "n": len(trials), "as_expected": sum(trial["as_expected"] for trial in trials),
        "p50_s": float(np.median(took)) if took else None, "max_s": worst if took else None, "bound_s": case.bound_s,
        "commands": sum(log["commands"] for log in logs), "out_of_limits": out, "logs": len(logs),
        "logs_closed": sum(log["closed"] for log in logs), "ticks_missing": sum(log["missing"] for log in logs),
        "said": trials[-1]["said"] if trials else "", "missed": not (well and whole and out == 0),
    }  # fmt: skip


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'fault':<26}{'n':>4}{'p50 s':>8}{'max s':>8}{'bound':>8}{'out':>5}{'missing':>8}  found"]
    for one in rows:
        p50, most = (f"{one[key]:8.3f}" if one[key] is not None else f"{'-':>8}" for key in ("p50_s", "max_s"))
        found = f"{'/'.join(one['modes'])}{'  MISSED' if one['missed'] else ''}  {one['said'][:80]}"
        counts = f"{one['out_of_limits']:>5}{one['ticks_missing']:>8}"
        lines.append(f"{one['fault']:<26}{one['n']:>4}{p50}{most}{one['bound_s']:>8.3g}{counts}  {found}")
    return "\n".join(lines)


def all_cases() -> list[FaultCase]:
    """The whole table, simulated arm first."""
    return [*cases(load_robot("sim_arm")).values(), *SERVO_CASES]


def island(runs: int, ledger: Ledger) -> Iterator[str]:
    """The partition, in a network namespace of its own; why not, where this computer does not allow it."""
    apart = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if len(ledger.trials("partition")) < runs:
        command = [*apart, sys.executable, "-m", "benchmarks.bench_faults", ISLAND, str(runs), str(ledger.file)]
        try:
            subprocess.run(command, cwd=ROOT, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            yield f"partition: not measured: {error}"


def main(arguments: Sequence[str] = ()) -> Result:
    """`arguments`: names of faults (none: all)."""
    runs, ledger = int(os.environ.get("RUNS", "20")), Ledger(FOLDER / f"faults-{code_hash()}.jsonl")
    folder = FOLDER / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in all_cases() if not arguments or case.name in arguments]
    on_a_graph(plain_graph, [c for c in wanted if c not in SERVO_CASES and not c.own_graph], runs, ledger, folder)
    on_a_graph(graph_with_a_date, [c for c in wanted if c.means is Means.CLOCK], runs, ledger, folder)
    notes = list(island(runs, ledger)) if any(c.means is Means.PARTITION for c in wanted) else []
    on_servos([c for c in wanted if c in SERVO_CASES], runs, ledger)
    rows = [row(case, ledger) for case in wanted]
    print(table_of(rows), *notes, sep="\n", flush=True)
    timed = [t["took_s"] for c in wanted if c.expect in TO_SAFETY for t in ledger.trials(c.name) if np.isfinite(t["took_s"])]
    return Result(
        "faults", "s", timed, extra={"faults": len(rows), "missed": sum(r["missed"] for r in rows), "rows": rows, "runs": runs}
    )


if __name__ == "__main__":
    if sys.argv[1:2] == [ISLAND]:
        island_case = [case for case in all_cases() if case.means is Means.PARTITION]
        on_a_graph(graph_on_an_island, island_case, int(sys.argv[2]), Ledger(Path(sys.argv[3])), FOLDER / "faults")
    else:
        answer = main(sys.argv[1:])
        print(table([answer]))
        print(*store([answer]))
