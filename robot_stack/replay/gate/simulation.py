"""Both bundles in the simulated world, on the same seeds, round by round, no longer than it takes to know.

A round is a few seeds under every condition of the suite, so that conditions are always as many pairs ahead as each other.
"""

import shutil
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from robot_stack.config.gate import GateSettings
from robot_stack.replay.crew import Setup
from robot_stack.replay.gate.evidence import Paired, shown_good, shown_worse
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.protections import Condition, Job, Trial, Variant, players, run_job
from robot_stack.replay.recorded_settings import RecordedSettings, changed

Known = MutableMapping[tuple[str, str, int], Outcome]
"""Outcomes that are there already, by bundle folder (and config), condition and seed."""


@dataclass(frozen=True)
class Sides:
    """The robot as it would be (`candidate`), the robot as it is, and what both are tried under."""

    candidate: Trial
    against: Trial
    suite: Sequence[Condition]
    config: str = ""

    def job(self, side: Trial, condition: Condition, seed: int) -> Job:
        """One episode with every protection that this robot has."""
        setup = side.setup
        variant = Variant("as set up", selector=True, filter=setup.safety.use_filter, monitor=setup.monitor is not None)
        return Job(side, variant, condition, seed)

    def key(self, job: Job) -> tuple[str, str, int]:
        """The name of an outcome among `Known`."""
        config = self.config if job.trial is self.candidate else ""
        return f"{job.trial.bundle} {config}".strip(), job.condition.name, job.seed


def rounds(sides: Sides, settings: GateSettings, known: Known) -> Iterator[tuple[Paired, ...]]:
    """All pairs so far, one value a condition, after each round; ends when it is decided, or after `pairs` in all."""
    step, most = ceil(settings.least / len(sides.suite)), max(1, settings.pairs // len(sides.suite))
    with players(settings.processes) as play:
        for end in (*range(step, most, step), most):
            seeds = range(settings.seed, settings.seed + end)
            both = (sides.candidate, sides.against)
            jobs = [sides.job(side, condition, seed) for seed in seeds for condition in sides.suite for side in both]
            waiting = {sides.key(job): job for job in jobs if sides.key(job) not in known}
            for job, outcome in play(list(waiting.values())):
                known[sides.key(job)] = outcome
            trials = tuple(_paired(sides, condition, seeds, known) for condition in sides.suite)
            yield trials
            if decided(trials, settings):
                return


def _paired(sides: Sides, condition: Condition, seeds: range, known: Known) -> Paired:
    one, other = (
        tuple(known[sides.key(sides.job(side, condition, seed))] for seed in seeds) for side in (sides.candidate, sides.against)
    )
    return Paired(condition.name, one, other)


def decided(trials: tuple[Paired, ...], settings: GateSettings) -> bool:
    """True when success is shown to be lower somewhere, or shown not to be lower by the margin."""
    need = 1.0 / settings.alpha
    return shown_worse(trials, "success", good=True)[0] >= need or shown_good(trials, settings.margin) >= need


def as_changed(setup: Setup, config: str) -> Setup:
    """`setup` with `config` in place. Raises ConfigError on a setting that does not exist."""
    now = RecordedSettings(setup.robot_file or setup.spec.name, setup.safety, setup.monitor, setup.detector, setup.task)
    new = changed(now, config)
    return replace(setup, safety=new.safety, monitor=new.monitor, detector=new.detector, task=new.task)


@dataclass(frozen=True, slots=True)
class Bad:
    """An episode that went wrong with the candidate: its condition, both outcomes, and its name."""

    condition: str
    candidate: Outcome
    against: Outcome

    @property
    def name(self) -> str:
        """A name that a folder may have."""
        return f"{self.condition} {self.candidate.seed}".replace(" ", "_").replace("%", "percent")


def worst_episodes(trials: Sequence[Paired], number: int = 10) -> list[Bad]:
    """Episodes in which the candidate touched the obstacle or did not succeed: those first in which the other bundle did well."""
    every = [Bad(p.condition, one, other) for p in trials for one, other in zip(p.candidate, p.against, strict=True)]
    wrong = [bad for bad in every if bad.candidate.violation or not bad.candidate.success]
    return sorted(wrong, key=lambda b: (not b.candidate.violation, not b.against.success, b.candidate.approach))[:number]


def played_again(sides: Sides, bad: Bad, out: Path) -> Path:
    """The candidate's episode once more, bit for bit, into a log below `out`, where one of an earlier verdict gives way to it."""
    condition = next(c for c in sides.suite if c.name == bad.condition)
    folder = out / bad.name
    shutil.rmtree(folder, ignore_errors=True)
    run_job(sides.job(sides.candidate, condition, bad.candidate.seed), folder)
    return folder
