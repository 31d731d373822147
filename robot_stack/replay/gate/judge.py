"""The gate: evidence on a bundle, the cheapest first, until a rule rejects it or all of it is in; then one verdict.

Manifests, then recorded observations (both bundles on the same ones), then logs (verdicts bit-equal; the change tick by tick),
latency, the logs' rewards (off-policy), and at last the simulated world: paired seeds, round by round, no longer than it takes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from policies.bundle import load_bundle
from policies.onnx_policy import OnnxPolicy
from robot_stack.clock import NS_PER_S
from robot_stack.config.gate import GateSettings
from robot_stack.data.episode import Episode
from robot_stack.data.log_reader import EpisodeLog, read_log
from robot_stack.errors import PolicyError, RobotStackError
from robot_stack.interfaces import Policy
from robot_stack.replay.behaviour import Behaviour, behaviour, other_of
from robot_stack.replay.chunks import CHUNK
from robot_stack.replay.crew import Setup
from robot_stack.replay.gate.evidence import Evidence
from robot_stack.replay.gate.off_policy import estimates
from robot_stack.replay.gate.probes import compare
from robot_stack.replay.gate.rules import Finding, Fired, fired, verdict
from robot_stack.replay.gate.simulation import Known, Sides, as_changed, rounds
from robot_stack.replay.gate.spots import Sampler, spots
from robot_stack.replay.protections import Condition, Trial
from robot_stack.replay.recorded_settings import recorded_settings
from robot_stack.replay.verdicts import Report, replay_verdicts
from robot_stack.types import Observation
from safety.layer import SafetyLayer

SELF_SEED = 43
"""Noise of the second opinion of the other bundle, against which a difference is measured."""
SHOWN = 3
"""So many logs of a policy are put through the new bundle's chunks."""


@dataclass(frozen=True)
class Case:
    """What is on trial: `bundle` with `config` (overrides of the recorded settings) against another as recorded.

    `episodes`: what both bundles look at; `logs`: folders to replay. `setup`: the simulated robot (None: no re-simulation)
    and what is tried with it (`suite`). `opened`: how the candidate is run on recordings, by another engine or adapter perhaps.
    """

    bundle: Path
    against: Path
    episodes: Sequence[Episode]
    logs: Sequence[Path] = ()
    config: str = ""
    setup: Setup | None = None
    suite: Sequence[Condition] = (Condition("nominal", "nominal"),)
    opened: Callable[[Path], Sampler] = OnnxPolicy


@dataclass(frozen=True)
class Judged:
    """The verdict, every rule that fired, all evidence, and seconds by stage. `notes`: what could not be looked at, and why."""

    case: Case
    finding: Finding
    fired: tuple[Fired, ...]
    evidence: Evidence
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def judge(case: Case, settings: GateSettings, known: Known | None = None) -> Judged:
    """Look at everything, or with `settings.early` until a rule rejects.

    Raises PolicyError when the bundle that runs now cannot be opened, DataError when no episode can be used.
    """
    notes: list[str] = []
    found, spent = Evidence(settings), {}
    stages: dict[str, Callable[[Evidence], Iterator[Evidence]]] = {
        "manifests": lambda e: _manifests(case, e),
        "recordings": lambda e: _recordings(case, e),
        "logs": lambda e: _logs(case, e, notes),
        "latency": lambda e: _latency(case, e),
        "off-policy": lambda e: _off_policy(case, e, notes),
        "simulation": lambda e: _simulation(case, e, {} if known is None else known, notes),
    }
    for name, stage in stages.items():
        begin = time.monotonic()
        for more in stage(found):
            found = more
            if settings.early and verdict(fired(found)) is Finding.REJECT:
                break
        spent[name] = time.monotonic() - begin
        if found.damaged or (settings.early and verdict(fired(found)) is Finding.REJECT):
            break
    else:
        found = replace(found, complete=True)
    every = fired(found)
    return Judged(case, verdict(every), tuple(every), found, spent, tuple(notes))


def _manifests(case: Case, found: Evidence) -> Iterator[Evidence]:
    other = load_bundle(case.against).manifest
    try:
        yield replace(found, manifests=(load_bundle(case.bundle).manifest, other))
    except PolicyError as error:
        yield replace(found, damaged=str(error))


def _recordings(case: Case, found: Evidence) -> Iterator[Evidence]:
    against, again = OnnxPolicy(case.against), OnnxPolicy(case.against, seed=SELF_SEED)
    at = spots(case.episodes, against.manifest, found.settings.observations, found.settings.period_s)
    try:
        yield replace(found, compared=compare(case.opened(case.bundle), against, again, at))
    except PolicyError as error:
        yield replace(found, damaged=str(error))


def _logs(case: Case, found: Evidence, notes: list[str]) -> Iterator[Evidence]:
    for folder in case.logs:
        try:
            report, diff = replayed(folder, case.config)
        except RobotStackError as error:
            notes.append(f"{folder.name} was not replayed: {error}")
            continue
        behaviours = (*found.behaviours, diff) if diff is not None else found.behaviours
        found = replace(found, verdicts=(*found.verdicts, report), behaviours=behaviours)
        yield found
    yield replace(found, decided=tuple(_decided_again(case, notes)))


def _decided_again(case: Case, notes: list[str]) -> Iterator[Behaviour]:
    """The first logs of a policy through the candidate's chunks."""
    ours = (log for log in map(read_log, case.logs) if next(iter(log.iterate({CHUNK})), None) is not None)
    for log in islice(ours, SHOWN):
        try:
            yield through(log, case.config, OnnxPolicy(case.bundle))
        except RobotStackError as error:
            notes.append(f"{log.name} was not decided on again: {error}")


def replayed(folder: Path, config: str) -> tuple[Report, Behaviour | None]:
    """The log in `folder` with today's code as it was set up, and, where `config` changes something, through the change."""
    log = read_log(folder)
    settings = recorded_settings(log)
    report = replay_verdicts(log, SafetyLayer(settings.spec, settings.safety))
    return report, through(log, config, None) if config else None


def through(log: EpisodeLog, config: str, policy: Policy | None) -> Behaviour:
    """`log` through a changed robot. Raises as `other_of` and `behaviour` do."""
    return behaviour(log, other_of(log, config, policy))


def _off_policy(case: Case, found: Evidence, notes: list[str]) -> Iterator[Evidence]:
    if not found.settings.reward:
        return
    try:
        yield replace(
            found, estimates=estimates(case.episodes, OnnxPolicy(case.bundle), OnnxPolicy(case.against), found.settings)
        )
    except RobotStackError as error:
        notes.append(f"no off-policy estimate: {error}")


def _latency(case: Case, found: Evidence) -> Iterator[Evidence]:
    """How long both bundles compute, the two right after each other on each observation."""
    pair = OnnxPolicy(case.bundle), OnnxPolicy(case.against)
    at = spots(case.episodes, pair[1].manifest, found.settings.observations, found.settings.period_s)
    taken = np.array([[_seconds(policy, spot.now) for policy in pair] for spot in at])
    mine, theirs = np.median(taken, axis=0)
    yield replace(found, latency_s=(float(mine), float(theirs)), latency_ratio=float(np.median(taken[:, 0] / taken[:, 1])))


def _seconds(policy: OnnxPolicy, seen: Observation) -> float:
    """By this thread's own clock: it is the one that computes, and what else the computer does is no fault of a bundle."""
    begin = time.thread_time_ns()
    policy.decide(seen)
    return (time.thread_time_ns() - begin) / NS_PER_S


def _simulation(case: Case, found: Evidence, known: Known, notes: list[str]) -> Iterator[Evidence]:
    sides = sides_of(case)
    if sides is None or not found.settings.pairs:
        notes.append("not re-simulated: no simulated robot of these logs, or gate.pairs=0")
        return
    for trials in rounds(sides, found.settings, known):
        yield replace(found, trials=trials)


def sides_of(case: Case) -> Sides | None:
    """Both robots of `case` in the simulated world; None where there is none."""
    if case.setup is None:
        return None
    now = Trial(as_changed(case.setup, case.config), case.bundle)
    return Sides(now, Trial(case.setup, case.against), case.suite, case.config)
