"""A log through a changed policy, filter, monitor or config: tick by tick, what would have been commanded, stopped, let through.

Each tick is replayed from the command that was really sent before it, in the joints that were really measured; the mode goes
its own way. So the answer for a tick is what the changed robot would have decided *there*, not where it would have been by
then: for that there is re-simulation.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np

from robot_stack.config.schema import MonitorSettings
from robot_stack.control import HUMAN_SOURCES
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.data.wire import ChoiceNote, chunk_key
from robot_stack.data.wire_step import sentence
from robot_stack.errors import DataError
from robot_stack.interfaces import Policy, Safety
from robot_stack.replay.chunks import decide_again
from robot_stack.replay.recorded_settings import changed, recorded_settings
from robot_stack.replay.verdicts import Tick, most_first, reasons, ticks
from robot_stack.replay.views import Span
from robot_stack.types import ARMED, ActionChunk, CameraFrame, Decision, FailureScore, Mode, Reason, Step, TickInputs
from safety.layer import SafetyLayer
from safety.monitor import Monitor, MonitorState

SAME_RAD = 1e-9
"""Commands nearer than this (rad; m) are the same one."""
UNSEEN = 0.02
"""So many alarms may come out otherwise on recorded pictures: frames and scores of several nodes cross in a log."""
_FREEDOM = {Decision.STOP: 0, Decision.HOLD: 1, Decision.LIMIT: 2, Decision.PASS: 3}


class Change(Enum):
    """What a change does to one tick, the worst first."""

    LET_THROUGH = "let through"
    STOPPED = "stopped"
    LIMITED = "limited"
    COMMANDED = "other command"
    EXPLAINED = "other reasons"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class StepDiff:
    """One tick: `change`, reason codes `gone` and `new`, how far the commands are apart (rad), both verdicts in words."""

    tick: int
    t_s: float
    change: Change
    gone: frozenset[Reason]
    new: frozenset[Reason]
    distance: float
    recorded: str
    replayed: str

    def plain(self) -> dict[str, object]:
        """The fields in words and numbers."""
        codes = {name: sorted(r.value for r in getattr(self, name)) for name in ("gone", "new")}
        texts = {"recorded": self.recorded, "replayed": self.replayed}
        return {"tick": self.tick, "t_s": self.t_s, "change": self.change.value, "distance": self.distance, **codes, **texts}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One log through a change. Counts of ticks by `Change`, and by reason code gone or new in ticks let through or stopped.

    `guarded_s`: when FALLBACK or STOP was first entered, recorded and now (None: never). `first`: of each change, the first tick.
    """

    log: str
    path: str
    ticks: int
    duration_s: float
    counts: Mapping[str, int]
    gone: Mapping[str, int]
    new: Mapping[str, int]
    distance: float
    guarded_s: tuple[float | None, float | None]
    spans: tuple[Span, ...]
    first: Mapping[str, StepDiff] = field(default_factory=dict)

    def count(self, change: Change) -> int:
        """How many ticks came out so."""
        return self.counts.get(change.value, 0)

    def __str__(self) -> str:
        said = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        gone = "; no longer " + ", ".join(f"{r} {n}" for r, n in self.gone.items()) if self.gone else ""
        new = "; now " + ", ".join(f"{r} {n}" for r, n in self.new.items()) if self.new else ""
        return f"{self.log}: of {self.ticks} ticks {said}; commands up to {self.distance:.3g} rad apart{gone}{new}"


@dataclass(frozen=True, slots=True)
class Other:
    """What is changed: the safety layer, and where given the policy and the monitor that decide again on what was recorded.

    `watched`: the monitor as it was, by which a log shows that it holds every picture a monitor needs.
    """

    safety: Safety
    policy: Policy | None = None
    monitor: Monitor | None = None
    watched: Monitor | None = None


def other_of(log: EpisodeLog, config: str, policy: Policy | None = None) -> Other:
    """The robot that recorded `log`, with `config` and `policy` changed. Raises ConfigError on an unknown setting, DataError."""
    recorded = recorded_settings(log)
    settings = changed(recorded, config)
    safety = SafetyLayer(settings.spec, settings.safety)
    if settings.monitor is None or settings.monitor == recorded.monitor:
        return Other(safety, policy)
    watched = Monitor(recorded.monitor or MonitorSettings(), recorded.spec)
    return Other(safety, policy, Monitor(settings.monitor, settings.spec), watched)


def behaviour(log: EpisodeLog, other: Other, sink: Callable[[StepDiff], object] | None = None) -> Behaviour:
    """The summary of `step_diffs`; each tick that is not the same also goes to `sink`. Raises DataError on a damaged log."""
    tally = _Tally()
    for tick, diff in _compared(log, other):
        tally.add(tick, diff)
        if sink is not None and diff.change is not Change.SAME:
            sink(diff)
    return tally.summary(log)


def step_diffs(log: EpisodeLog, other: Other) -> Iterator[StepDiff]:
    """Each tick of `log`, as recorded against as `other` would have decided it."""
    for _, diff in _compared(log, other):
        yield diff


def _compared(log: EpisodeLog, other: Other) -> Iterator[tuple[Tick, StepDiff]]:
    chunks = {} if other.policy is None else _chunks_again(log, other.policy)
    scores = {} if other.monitor is None else _scores_again(log, other.monitor)
    if other.monitor is not None and other.watched is not None:
        _expect_pictures(log, _scores_again(log, other.watched))

    def change(inputs: TickInputs) -> TickInputs:
        if inputs.chunk is not None and inputs.chunk.source not in HUMAN_SOURCES:
            inputs = replace(inputs, chunk=chunks.get(chunk_key(inputs.chunk), inputs.chunk))
        if inputs.score is not None:
            inputs = replace(inputs, score=scores.get(_name(inputs.score), inputs.score))
        return inputs

    for tick in ticks(log, other.safety, change):
        if tick.warm:
            yield tick, compare(tick)


def _chunks_again(log: EpisodeLog, policy: Policy) -> dict[str, ActionChunk]:
    """What `policy` says to each recorded observation, by the chunk it stands for, due at the same times."""
    found = {}
    for recorded, _, choice in decide_again(log, policy):
        if choice is not None:
            found[chunk_key(recorded)] = replace(choice.chunk, source=recorded.source, t_obs_ns=recorded.t_obs_ns)
    return found


def _name(score: FailureScore) -> tuple[int, float, str]:
    return score.t_ns, score.score, score.cause


def _scores_again(log: EpisodeLog, monitor: Monitor) -> dict[tuple[int, float, str], FailureScore]:
    """What `monitor` says to the pictures and the choice that were there at each recorded score."""
    frames: dict[str, CameraFrame] = {}
    choice: ChoiceNote | None = None
    found, state = {}, MonitorState()
    topics = {topic for topic in log.topics if topic.endswith("/image")} | {"/monitor/score", "/policy/choice"}
    for _, t_ns, value in log.iterate(topics):
        if isinstance(value, CameraFrame):
            frames[value.camera] = value
        elif isinstance(value, ChoiceNote):
            choice = value
        elif isinstance(value, FailureScore):
            state, found[_name(value)] = monitor.update(state, frames, t_ns, choice)
    return found


def _expect_pictures(log: EpisodeLog, again: Mapping[tuple[int, float, str], FailureScore]) -> None:
    """Raises DataError unless the monitor as it was comes to the recorded alarms: else what it saw is not all in `log`."""
    other = sum(bool(cause) != score.alarm for (_, _, cause), score in again.items())
    if other > UNSEEN * len(again):
        raise DataError(
            f"log {log.path}: {other} of {len(again)} scores of the monitor do not come out as recorded, allowed "
            f"{UNSEEN:.0%}; pictures were left out of it, so a changed monitor cannot be replayed on it"
        )


def compare(tick: Tick) -> StepDiff:
    """What became of one tick."""
    then, now = tick.recorded, tick.replayed
    before, after = reasons(then), reasons(now)
    distance = float(np.abs(then.verdict.command.q - now.verdict.command.q).max())
    change = _change(then, now, distance, before != after)
    words = ("", "") if change is Change.SAME else (sentence(then), sentence(now))
    return StepDiff(tick.index, tick.t_s, change, before - after, after - before, distance, *words)


def _change(then: Step, now: Step, distance: float, explained: bool) -> Change:
    was, is_now = _freedom(then), _freedom(now)
    if is_now > was:
        return Change.LET_THROUGH
    if is_now < was:
        return Change.LIMITED if is_now == _FREEDOM[Decision.LIMIT] else Change.STOPPED
    if distance > SAME_RAD:
        return Change.COMMANDED
    return Change.EXPLAINED if explained or then.verdict.mode is not now.verdict.mode else Change.SAME


def _freedom(step: Step) -> int:
    """0: stopped for good, 1: held, or in a mode in which nobody who is armed moves it, 2: limited, 3: as wished."""
    if step.verdict.mode is Mode.STOP:
        return 0
    most = _FREEDOM[step.verdict.decision]
    return most if step.verdict.mode in ARMED else min(most, 1)


class _Tally:
    """Counts while the ticks go by; spans of one change are joined as they come."""

    def __init__(self) -> None:
        self.ticks, self.t_s, self.distance = 0, 0.0, 0.0
        self.counts: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()
        self.new: Counter[str] = Counter()
        self.guarded: list[float | None] = [None, None]
        self.spans: list[Span] = []
        self.first: dict[str, StepDiff] = {}

    def add(self, tick: Tick, diff: StepDiff) -> None:
        self.ticks += 1
        self.t_s = tick.t_s
        self.counts[diff.change.value] += 1
        self.distance = max(self.distance, diff.distance)
        for i, step in enumerate((tick.recorded, tick.replayed)):
            if self.guarded[i] is None and step.verdict.mode in (Mode.FALLBACK, Mode.STOP):
                self.guarded[i] = tick.t_s
        if diff.change in (Change.LET_THROUGH, Change.STOPPED):
            self.gone.update(r.value for r in diff.gone)
            self.new.update(r.value for r in diff.new)
        if self.spans and self.spans[-1].name == diff.change.value:
            self.spans[-1] = replace(self.spans[-1], end_s=tick.t_s)
        else:
            self.spans.append(
                Span(tick.t_s, tick.t_s, diff.change.value, ", ".join(sorted(r.value for r in diff.gone | diff.new)))
            )
        if diff.change is not Change.SAME:
            self.first.setdefault(diff.change.value, diff)

    def summary(self, log: EpisodeLog) -> Behaviour:
        counts, gone, new = (most_first(c) for c in (self.counts, self.gone, self.new))
        guarded = (self.guarded[0], self.guarded[1])
        head = (log.name, str(Path(log.path).parent), self.ticks, self.t_s)
        return Behaviour(*head, counts, gone, new, self.distance, guarded, tuple(self.spans), self.first)
