"""One episode log as what a person wants to see of it: pictures, modes, margins, counts, reasons, latencies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robot_stack.clock import NS_PER_S, seconds
from robot_stack.control import HUMAN_SOURCES
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.data.video import jpeg
from robot_stack.data.wire import ChoiceNote
from robot_stack.data.wire_step import sentence
from robot_stack.errors import DataError
from robot_stack.replay.verdicts import Report as ReplayReport
from robot_stack.replay.verdicts import most_first
from robot_stack.types import ARMED, Array, CameraFrame, Decision, FailureScore, Mode, Step

NUM_PICTURES = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a strip: seconds since the first tick, and its JPEG bytes."""

    t_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """From `begin_s` to `end_s` something was `name`; `why` it began."""

    begin_s: float
    end_s: float
    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Pseudo-counts (N,) of one decision and who won."""

    t_s: float
    counts: tuple[float, ...]
    winner: int


@dataclass(frozen=True, slots=True)
class EpisodeView:
    """What the report shows of one log. Arrays are per tick (n,); `scores` rows are (t_s, score, threshold).

    `latencies`: samples in s by name. `drops` by topic, as the recorder counted them. `shadow`: nothing was sent to the arm.
    `replay` None: not replayed.
    """

    name: str
    scenario: str
    robot: str
    started: str
    duration_s: float
    complete: bool
    strips: Mapping[str, tuple[Picture, ...]]
    modes: tuple[Span, ...]
    decisions: tuple[Span, ...]
    t_s: Array
    margin: Array
    barrier: Array
    scores: Array
    alarms: tuple[Span, ...]
    counts: tuple[Counts, ...]
    reasons: Mapping[str, int]
    latencies: Mapping[str, Array]
    drops: Mapping[str, int] = field(default_factory=dict)
    ending: str = ""
    shadow: bool = False
    replay: ReplayReport | None = None

    @property
    def final_mode(self) -> str:
        """The mode of the last tick."""
        return self.modes[-1].name

    def share(self, decision: Decision) -> float:
        """The share of the time in which the arm was armed or in FALLBACK that the filter said `decision`."""
        moving = [s for s in self.modes if s.name in {m.value for m in ARMED | {Mode.FALLBACK}}]
        total = sum(s.end_s - s.begin_s for s in moving)
        overlap = sum(
            max(0.0, min(d.end_s, m.end_s) - max(d.begin_s, m.begin_s))
            for m in moving
            for d in self.decisions
            if d.name == decision.value
        )
        return overlap / total if total > 0 else 0.0


def episode_view(log: EpisodeLog, replay: ReplayReport | None = None, cameras: Sequence[str] = ()) -> EpisodeView:
    """The view of `log`, from the log alone. `cameras`: whose pictures to show (none named: all).

    Raises DataError when the log holds no tick or cannot be read.
    """
    steps = list(log.steps())
    if not steps:
        raise DataError(f"log {log.path}: found no tick on /arm/verdict, allowed at least one; was arm_node running?")
    begin, end = steps[0].t_ns, steps[-1].t_ns
    times = np.array([seconds(s.t_ns - begin) for s in steps])
    scores, notes = _scores_and_notes(log)
    scored = [(seconds(s.t_ns - begin), s.score, s.threshold) for s in scores]
    return EpisodeView(
        name=log.name,
        scenario=log.metadata.scenario,
        robot=log.metadata.robot,
        started=log.metadata.started,
        duration_s=seconds(end - begin),
        complete=log.complete,
        strips=_strips(log, begin, end, cameras),
        modes=_spans(times, [s.verdict.mode.value for s in steps], [", ".join(r.value for r in s.mode_cause) for s in steps]),
        decisions=_spans(times, [s.verdict.decision.value for s in steps], ["" for _ in steps]),
        t_s=times,
        margin=np.array([s.verdict.margin for s in steps]),
        barrier=np.array([s.verdict.barrier for s in steps]),
        scores=np.array(scored, dtype=np.float64).reshape(-1, 3),
        alarms=_alarms(scores, begin),
        counts=tuple(
            Counts(seconds(n.t_obs_ns - begin), tuple(n.counts.tolist()), n.winner) for n in notes if n.counts is not None
        ),
        reasons=_reasons(steps),
        latencies=_latencies(log, steps, notes),
        drops={topic: count for topic, count in log.summary.drops.items() if count},
        ending=sentence(steps[-1]),
        shadow=log.metadata.shadow,
        replay=replay,
    )


def _scores_and_notes(log: EpisodeLog) -> tuple[list[FailureScore], list[ChoiceNote]]:
    values = [value for _, _, value in log.iterate({"/monitor/score", "/policy/choice"})]
    return [v for v in values if isinstance(v, FailureScore)], [v for v in values if isinstance(v, ChoiceNote)]


def _spans(times: Array, names: Sequence[str], causes: Sequence[str]) -> tuple[Span, ...]:
    starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    ends = [*starts[1:], len(names) - 1]
    return tuple(Span(float(times[a]), float(times[b]), names[a], causes[a]) for a, b in zip(starts, ends, strict=True))


def _alarms(scores: Sequence[FailureScore], begin: int) -> tuple[Span, ...]:
    """Each from the first score that is an alarm to the first that is none; named by its cause."""
    spans: list[Span] = []
    before = False
    for score in scores:
        t_s = seconds(score.t_ns - begin)
        if before:
            spans[-1] = replace(spans[-1], end_s=t_s)
        elif score.alarm:
            spans.append(Span(t_s, t_s, score.cause or "score above threshold"))
        before = score.alarm
    return tuple(spans)


def _reasons(steps: Iterable[Step]) -> dict[str, int]:
    counter: Counter[str] = Counter()
    for step in steps:
        if step.verdict.mode is not Mode.DISARMED:
            counter.update({v.reason.value for v in step.verdict.violations})
        counter.update({r.value for r in step.mode_cause})
    return most_first(counter)


def _strips(log: EpisodeLog, begin: int, end: int, cameras: Sequence[str]) -> dict[str, tuple[Picture, ...]]:
    """Ten pictures of each camera, evenly spread; a strip is shorter when there were fewer frames."""
    wanted = np.linspace(begin, end, NUM_PICTURES, endpoint=False) + (end - begin) / (2 * NUM_PICTURES)
    strips: dict[str, list[Picture]] = {}
    newest: dict[str, CameraFrame] = {}
    topics = {f"/{camera}/image" for camera in cameras} or {t for t in log.topics if t.endswith("/image")}
    for _, _, frame in log.iterate(topics):
        if not isinstance(frame, CameraFrame):
            continue
        strip = strips.setdefault(frame.camera, [])
        while len(strip) < NUM_PICTURES and frame.t_ns >= wanted[len(strip)]:
            strip.append(_picture(newest.get(frame.camera, frame), begin))
        newest[frame.camera] = frame
    for camera, frame in newest.items():
        strips[camera] += [_picture(frame, begin)] * (NUM_PICTURES - len(strips[camera]))
    return {camera: tuple(strips[camera]) for camera in sorted(strips)}


def _picture(frame: CameraFrame, begin: int) -> Picture:
    return Picture(seconds(frame.t_ns - begin), jpeg(frame.rgb))


def _latencies(log: EpisodeLog, steps: Sequence[Step], notes: Sequence[ChoiceNote]) -> dict[str, Array]:
    """Samples in s. Only what the log itself shows: its stamps are all of one clock."""
    taken = [(s.t_ns, s.inputs.chunk) for s in steps if s.inputs.chunk is not None]
    chunks = [(t, c) for t, c in taken if c.source not in HUMAN_SOURCES]
    hazards = [(s.t_ns, s.inputs.hazards) for s in steps if s.inputs.hazards is not None]
    scores = [(s.t_ns, s.inputs.score) for s in steps if s.inputs.score is not None]
    found = {
        "tick: later than its deadline": [s.lateness_ns for s in steps],
        "joints: age in the tick that used them": [s.t_ns - s.inputs.joints.t_ns for s in steps if s.inputs.joints is not None],
        "policy: one decision": [n.latency_s * NS_PER_S for n in notes if np.isfinite(n.latency_s)],
        "camera to command: oldest input to first tick of the chunk": [t - c.t_obs_ns for t, c in chunks],
        "hazards: age in the tick that took them": [t - h.t_ns for t, h in hazards],
        "monitor: age of a score in the tick that took it": [t - s.t_ns for t, s in scores],
    }
    return {name: np.array(values, dtype=np.float64) / NS_PER_S for name, values in found.items() if values}
