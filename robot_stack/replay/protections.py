"""What each protection buys and costs: the same seeds, in lock-step, with each protection on and off."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from drivers.scenario import SCENARIOS
from robot_stack.replay.crew import Setup, autonomous, recording
from robot_stack.replay.lockstep import Episode, Outcome
from robot_stack.replay.resim.perturb import UNPERTURBED, Perturbation, perturbed

NEVER_S = 3600.0
BAR: dict[str, Any] = {"desc": "re-simulated", "unit": "episode"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table: which protections are on. `selector` False = one sample, taken as it comes."""

    name: str
    selector: bool
    filter: bool
    monitor: bool


VARIANTS = (
    Variant("policy alone", selector=False, filter=False, monitor=False),
    Variant("+ selector", selector=True, filter=False, monitor=False),
    Variant("+ filter", selector=False, filter=True, monitor=False),
    Variant("+ monitor, fallback", selector=False, filter=False, monitor=True),
    Variant("all", selector=True, filter=True, monitor=True),
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One column of the table: what happens (`drivers.scenario`), how much longer each decision takes than measured (s), and
    what in the world is otherwise."""

    name: str
    scenario: str
    decisions_late_s: float = 0.0
    perturbation: Perturbation = UNPERTURBED


@dataclass(frozen=True, slots=True)
class Trial:
    """The robot with all protections, and the policy bundle on trial."""

    setup: Setup
    bundle: Path


@dataclass(frozen=True, slots=True)
class Job:
    """One episode of the table."""

    trial: Trial
    variant: Variant
    condition: Condition
    seed: int


Play = Callable[[Sequence[Job]], Iterator[tuple[Job, Outcome]]]
"""Plays jobs, in their order, and gives each with its outcome as they end."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: counts over `n` paired seeds; intervals are Wilson 95 %."""

    variant: str
    scenario: str
    n: int
    success: int
    violation: int
    stopped: int
    limited: float
    clearance_min: float
    time_to_stop_s: float | None

    @property
    def success_interval(self) -> tuple[float, float]:
        """Wilson interval of the success rate."""
        return wilson(self.success, self.n)

    @property
    def violation_interval(self) -> tuple[float, float]:
        """Wilson interval of the violation rate."""
        return wilson(self.violation, self.n)


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a rate k / n at confidence given by `z` (1.96: 95 %). Wilson 1927, eq. (8)."""
    if n == 0:
        return 0.0, 1.0
    p, zz = k / n, z * z
    centre = (p + zz / (2 * n)) / (1 + zz / n)
    half = z / (1 + zz / n) * float(np.sqrt(p * (1 - p) / n + zz / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def difference(one: Sequence[bool], other: Sequence[bool]) -> tuple[float, float]:
    """The 95 % interval of the rate of `one` less that of `other`, on the same seeds (-1..1).

    Newcombe 1998, Statistics in Medicine 17:2635, method 10: Wilson intervals of both, less what the pairs have in common.
    """
    n, wins, losses = len(one), sum(one), sum(other)
    p, q, both = wins / n, losses / n, sum(a and b for a, b in zip(one, other, strict=True))
    (p_low, p_high), (q_low, q_high) = wilson(wins, n), wilson(losses, n)
    shared = both * (n - wins - losses + both) - (wins - both) * (losses - both)
    spread = float(np.sqrt(wins * (n - wins) * losses * (n - losses)))
    phi = (max(shared - n / 2, 0.0) if shared > 0 else shared) / spread if spread else 0.0

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(a * a - 2.0 * phi * a * b + b * b, 0.0)))

    return p - q - reach(p - p_low, q_high - q), p - q + reach(p_high - p, q - q_low)


def run_job(job: Job, log: Path | None = None) -> Outcome:
    """One episode, in this process, one thread; recorded in the folder `log`, if one is named.

    The policy's noise bank is drawn from the seed, so variants are paired. Without the monitor nobody minds old hazards either:
    the bare policy goes on when a camera freezes.
    """
    setup, variant = job.trial.setup, job.variant
    safety = replace(setup.safety, use_filter=variant.filter)
    if not variant.monitor:
        safety = replace(safety, hazards_stale_s=NEVER_S)
    latency_s = tuple(s + job.condition.decisions_late_s for s in setup.rates.policy_latency_s)
    rates = replace(setup.rates, policy_latency_s=latency_s)
    setup = replace(setup, safety=safety, monitor=setup.monitor if variant.monitor else None, rates=rates)
    setup, scenario = perturbed(job.condition.perturbation, setup, SCENARIOS[job.condition.scenario], job.seed)
    crew = autonomous(setup, job.trial.bundle, candidates=0 if variant.selector else 1, noise_seed=job.seed)
    with nullcontext() if log is None else recording(log, setup, job.condition.name, {"seed": job.seed}) as sink:
        return Episode(crew, scenario, job.seed, sink).run()


def run_table(trial: Trial, conditions: Sequence[Condition], seeds: Sequence[int], processes: int) -> list[tuple[Job, Outcome]]:
    """Every variant under every condition from every seed, in `processes` processes, with a progress bar."""
    return list(run_jobs([Job(trial, v, c, seed) for seed in seeds for c in conditions for v in VARIANTS], processes))


def run_jobs(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Outcome]]:
    """Each job with its outcome, in the order of `jobs`, as they end."""
    with players(processes) as play:
        yield from play(jobs)


@contextmanager
def players(processes: int) -> Iterator[Play]:
    """What plays jobs in `processes` that live as long as the context: they take seconds to start. One: this one."""
    if processes == 1:
        yield lambda jobs: zip(jobs, tqdm(map(run_job, jobs), total=len(jobs), **BAR), strict=True)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield lambda jobs: zip(jobs, tqdm(pool.imap(run_job, jobs), total=len(jobs), **BAR), strict=True)


def cells(results: Iterable[tuple[Job, Outcome]]) -> Iterator[Cell]:
    """The table, one cell per variant and scenario, in the order they were first seen."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for job, outcome in results:
        groups.setdefault((job.variant.name, job.condition.name), []).append(outcome)
    for (variant, scenario), outcomes in groups.items():
        stops = [o.stop_s for o in outcomes if o.stop_s is not None]
        yield Cell(
            variant=variant,
            scenario=scenario,
            n=len(outcomes),
            success=sum(o.success for o in outcomes),
            violation=sum(o.violation for o in outcomes),
            stopped=len(stops),
            limited=float(np.mean([o.limited for o in outcomes])),
            clearance_min=min(o.clearance for o in outcomes),
            time_to_stop_s=float(np.median(stops)) if stops else None,
        )


def as_rows(table: Iterable[Cell]) -> list[dict[str, object]]:
    """The cells as plain rows for JSON, with rates and intervals."""
    return [
        asdict(c)
        | {
            "success_rate": c.success / c.n,
            "violation_rate": c.violation / c.n,
            "success_interval": c.success_interval,
            "violation_interval": c.violation_interval,
        }
        for c in table
    ]
