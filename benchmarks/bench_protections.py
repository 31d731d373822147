"""What each protection buys and costs: the same seeds with each on and off, in lock-step, with what `robot-stack demo` learns.

Unit: simulated seconds of an episode; cameras at 15 Hz, as often as the monitor looks. Latencies of decisions are drawn from
those in the demo's live logs. Every outcome is kept in `runs/bench/protections-<hash of all it came from>`, so an interrupted
run goes on where it was. A cell runs all `SEEDS` seeds unless, from `LEAST` on, its success differs from that of the policy
alone beyond doubt (`robot_stack.replay.sequential`).
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import Result, keep, ledger_rows
from robot_stack.config.commands import DemoCommand
from robot_stack.config.load import load
from robot_stack.data.log_reader import read_log
from robot_stack.data.wire import ChoiceNote
from robot_stack.demo.cache import stage
from robot_stack.demo.learned import CORE, LOCKSTEP, School, setup_of
from robot_stack.demo.main import protected
from robot_stack.errors import ConfigError
from robot_stack.learn import log_folders
from robot_stack.replay.lockstep import Outcome, Rates
from robot_stack.replay.protections import VARIANTS, Cell, Condition, Job, Trial, as_rows, cells, run_jobs
from robot_stack.replay.sequential import decided
from robot_stack.types import Mode

LONGER = ("train.steps=5000",)
"""The demo has ten minutes; here its policy may learn for twice as long."""
SEEDS = range(1_000, 1_100)
ROUND, LEAST = 10, 30
CONDITIONS = (
    Condition("nominal", "nominal"),
    Condition("obstacle", "intruder"),
    Condition("dimmed", "dimmed"),
    Condition("frozen", "frozen"),
    Condition("noise", "noise"),
    Condition("delay 150 ms", "nominal", decisions_late_s=0.15),
)
ALONE, ALL = VARIANTS[0].name, VARIANTS[-1].name
Results = dict[tuple[str, str], dict[int, Outcome]]
"""Outcomes by variant and condition, then by seed."""


def measured_latencies(logs: Path) -> tuple[float, ...]:
    """How long each decision of the logs below `logs` took, s. Raises ConfigError when there is none."""
    found = [
        value.latency_s
        for folder in log_folders(logs)
        for _, _, value in read_log(folder).iterate({"/policy/choice"})
        if isinstance(value, ChoiceNote)
    ]
    if not found:
        raise ConfigError(f"bench protections: found no decision in the logs below {logs}; next: robot-stack demo")
    return tuple(found)


def open_jobs(trial: Trial, results: Results, seeds: Sequence[int]) -> Iterator[Job]:
    """What is still to run on `seeds`: not yet run, and of no cell that is decided."""
    for seed in seeds:
        for condition in CONDITIONS:
            for variant in VARIANTS:
                cell = results[variant.name, condition.name]
                if seed not in cell and not is_decided(results, variant.name, condition.name):
                    yield Job(trial, variant, condition, seed)


def is_decided(results: Results, variant: str, condition: str) -> bool:
    """True when `variant` has run on `LEAST` seeds or more, and its success differs from that of the policy alone."""
    cell, alone = results[variant, condition], results[ALONE, condition]
    both = sorted(cell.keys() & alone.keys())
    one, other = ([outcomes[seed].success for seed in both] for outcomes in (cell, alone))
    return variant != ALONE and len(both) >= LEAST and decided(one, other)


def kept(file: Path) -> Results:
    """The outcomes in the ledger `file`."""
    results: Results = defaultdict(dict)
    for row in ledger_rows(file):
        outcome = Outcome(**row["outcome"] | {"final_mode": Mode(row["outcome"]["final_mode"])})
        results[row["variant"], row["condition"]][outcome.seed] = outcome
    return results


def play(trial: Trial, file: Path) -> Results:
    """All rounds, each outcome written to `file` as it comes."""
    results = kept(file)
    for first in range(0, len(SEEDS), ROUND):
        jobs = list(open_jobs(trial, results, SEEDS[first : first + ROUND]))
        for job, outcome in run_jobs(jobs, os.cpu_count() or 1) if jobs else ():
            keep(file, {"variant": job.variant.name, "condition": job.condition.name, "outcome": asdict(outcome)})
            results[job.variant.name, job.condition.name][job.seed] = outcome
    return results


def figures(table: Iterable[Cell]) -> dict[str, object]:
    """What the targets are about, with every row of the table."""
    at = {(c.variant, c.scenario): c for c in table}
    alone, everything = at[ALONE, "nominal"], at[ALL, "nominal"]
    return {
        "violation_policy": at[ALONE, "obstacle"].violation / at[ALONE, "obstacle"].n,
        "violation_all": at[ALL, "obstacle"].violation / at[ALL, "obstacle"].n,
        "success_all_over_policy_nominal": (everything.success / everything.n) / max(alone.success / alone.n, 1e-9),
        "false_stop": everything.stopped / everything.n,
        "rows": as_rows(at.values()),
    }


def main(arguments: Sequence[str] = ()) -> Result:
    """The table; learns first what the demo would learn, unless that is there."""
    command = load(DemoCommand, LONGER)
    learned = School(command).learn()
    command = protected(command, learned)
    rates = Rates(camera_hz=15.0, policy_latency_s=measured_latencies(Path(command.demo.root) / "live"))
    setup = setup_of(command, rates)
    trial = Trial(setup, learned.bundle)
    folder = stage(Path("runs/bench"), "protections", [setup, str(learned.bundle)], (*CORE, *LOCKSTEP), lambda out: out).folder
    results = play(trial, folder / "outcomes.jsonl")
    jobs = [
        (Job(trial, variant, condition, seed), outcome)
        for condition in CONDITIONS
        for variant in VARIANTS
        for seed, outcome in sorted(results[variant.name, condition.name].items())
    ]
    return Result("protections", "s", [outcome.duration_s for _, outcome in jobs], extra=figures(cells(jobs)))
