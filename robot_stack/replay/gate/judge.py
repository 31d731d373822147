"""The gate: evidence on a bundle, the cheapest first, until a rule rejects it or all of it is in; then one verdict.

Manifests, then recorded observations (both bundles on the same ones), then logs (verdicts bit-equal; the changed config tick by
tick), then latency, then the simulated world: paired seeds, round by round, no longer than it takes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from policies.bundle import load_bundle
from policies.onnx_policy import OnnxPolicy
from robot_stack.clock import NS_PER_S
from robot_stack.config.gate import GateSettings
from robot_stack.data.episode import Episode
from robot_stack.data.log_reader import read_log
from robot_stack.errors import PolicyError, RobotStackError
from robot_stack.replay.behaviour import Behaviour, behaviour, other_of
from robot_stack.replay.crew import Setup
from robot_stack.replay.gate.probes import compare, spots
from robot_stack.replay.gate.rules import Estimate, Evidence, Finding, Fired, Paired, fired, verdict
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.protections import Condition, Job, Trial, Variant, run_jobs
from robot_stack.replay.recorded_settings import RecordedSettings, changed, recorded_settings
from robot_stack.replay.sequential import evidence, not_worse
from robot_stack.replay.verdicts import Report, replay_verdicts
from safety.layer import SafetyLayer

SELF_SEED = 43
"""Noise of the second opinion of the other bundle, against which a difference is measured."""
Known = dict[tuple[str, str, int], Outcome]
"""Outcomes that are there already, by bundle folder (and config), condition and seed."""


@dataclass(frozen=True)
class Case:
    """What is on trial: `bundle` with `config` (overrides of the recorded settings) against another as recorded.

    `episodes`: what both bundles look at; `logs`: folders to replay. `setup`: the simulated robot (None: no re-simulation)
    and what is tried with it (`suite`). `estimates`: off-policy estimates of both, made elsewhere.
    """

    bundle: Path
    against: Path
    episodes: Sequence[Episode]
    logs: Sequence[Path] = ()
    config: str = ""
    setup: Setup | None = None
    suite: Sequence[Condition] = (Condition("nominal", "nominal"),)
    estimates: Sequence[Estimate] = ()


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
    found, spent = Evidence(settings, estimates=tuple(case.estimates)), {}
    stages: dict[str, Callable[[Evidence], Iterator[Evidence]]] = {
        "manifests": lambda e: _manifests(case, e),
        "recordings": lambda e: _recordings(case, e),
        "logs": lambda e: _logs(case, e, notes),
        "latency": lambda e: _latency(case, e),
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
        yield replace(found, compared=compare(OnnxPolicy(case.bundle), against, again, at))
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


def replayed(folder: Path, config: str) -> tuple[Report, Behaviour | None]:
    """The log in `folder` with today's code as it was set up, and, where `config` changes something, through the change."""
    log = read_log(folder)
    settings = recorded_settings(log)
    report = replay_verdicts(log, SafetyLayer(settings.spec, settings.safety))
    if not config:
        return report, None
    return report, behaviour(log, other_of(log, config))


def _latency(case: Case, found: Evidence) -> Iterator[Evidence]:
    """Medians of one decision, s, one bundle after the other on each observation."""
    pair = OnnxPolicy(case.bundle), OnnxPolicy(case.against)
    samples: tuple[list[float], list[float]] = ([], [])
    for spot in spots(case.episodes, pair[1].manifest, found.settings.observations, found.settings.period_s):
        for policy, taken in zip(pair, samples, strict=True):
            begin = time.perf_counter_ns()
            policy.decide(spot.now)
            taken.append((time.perf_counter_ns() - begin) / NS_PER_S)
    yield replace(found, latency_s=(float(np.median(samples[0])), float(np.median(samples[1]))))


def _simulation(case: Case, found: Evidence, known: Known, notes: list[str]) -> Iterator[Evidence]:
    """Round by round; a condition is done when it is decided either way, or after `pairs`."""
    settings = found.settings
    if case.setup is None or not settings.pairs:
        notes.append("not re-simulated: no simulated robot of these logs, or gate.pairs=0")
        return
    for condition in case.suite:
        before = found.trials
        for end in range(settings.least, settings.pairs + settings.least, settings.least):
            seeds = range(settings.seed, settings.seed + min(end, settings.pairs))
            pair = _pair(case, case.setup, condition, seeds, settings, known)
            found = replace(found, trials=(*before, pair))
            yield found
            if decided(pair, settings):
                break


def decided(pair: Paired, settings: GateSettings) -> bool:
    """True when success is shown to be lower, or shown not to be lower by the margin."""
    more, less = pair.discordant("success")
    need = 1.0 / settings.alpha
    return evidence(more, less) >= need and less > more or not_worse(*pair.flags("success"), settings.margin) >= need


def _pair(case: Case, setup: Setup, condition: Condition, seeds: range, settings: GateSettings, known: Known) -> Paired:
    trials = {
        f"{case.bundle} {case.config}": Trial(_changed(setup, case.config), case.bundle),
        str(case.against): Trial(setup, case.against),
    }
    jobs = {(who, condition.name, s): Job(t, _as_set_up(t.setup), condition, s) for who, t in trials.items() for s in seeds}
    waiting = {key: job for key, job in jobs.items() if key not in known}
    if waiting:
        for key, (_, outcome) in zip(waiting, run_jobs(list(waiting.values()), settings.processes), strict=True):
            known[key] = outcome
    one, other = (tuple(known[who, condition.name, s] for s in seeds) for who in trials)
    return Paired(condition.name, one, other, settings.pairs)


def _as_set_up(setup: Setup) -> Variant:
    """Every protection that `setup` has."""
    return Variant("as set up", selector=True, filter=setup.safety.use_filter, monitor=setup.monitor is not None)


def _changed(setup: Setup, config: str) -> Setup:
    now = RecordedSettings(setup.robot_file or setup.spec.name, setup.safety, setup.monitor, setup.detector, setup.task)
    new = changed(now, config)
    return replace(setup, safety=new.safety, monitor=new.monitor, detector=new.detector, task=new.task)
