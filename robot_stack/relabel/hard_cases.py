"""Moments of deployment that deserve a look: unfamiliar decisions, interventions of the filter, alarms of the monitor.

Every armed tick of a log has a size for each kind of trouble, zero where there is none:

    unfamiliar   1 / pseudo-count of the chunk chosen last, where that is among the rarest `unfamiliar` of all decisions
    filter       1 the filter limited the command, 2 it held the arm, 3 it stopped it
    alarm        score / threshold of the monitor's last opinion (1 where only a cause was named)

A tick on which nobody wished anything (just armed, say) is no intervention. A moment is a run of ticks with trouble of one kind;
limited, held and stopped are three.
How bad it is, is how rare: ``-log10`` of the share of all armed ticks, of all logs, with trouble of that kind at least as large.
So a stop, an alarm and a strange view can be put in one order.

Per row: `hard_count` (NaN: no selector), `hard_filter` 0..3, `hard_reason` (index into `types.Reason`, -1 none), `hard_alarm`
0 or 1, `hard_rarity`; once: `hard_worst`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_stack.clock import NS_PER_S
from robot_stack.config.labellers import HardCasesSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.from_log import Times
from robot_stack.data.labels import Labels
from robot_stack.data.log_reader import EpisodeLog, read_log
from robot_stack.data.recording import ROW_NS, Recording
from robot_stack.data.wire import ChoiceNote
from robot_stack.errors import DataError
from robot_stack.relabel.labeller import Labeller
from robot_stack.types import Array, Decision, FailureScore, Mode, Reason, Step

KINDS = ("unfamiliar", "filter", "alarm")
REASONS = tuple(Reason)
LEVELS = {Decision.PASS: 0.0, Decision.LIMIT: 1.0, Decision.HOLD: 2.0, Decision.STOP: 3.0}
WORDS = {1.0: "limited", 2.0: "held", 3.0: "stopped"}


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Of each armed tick (n,) of one log: its time ns, the pseudo-count of the chunk chosen last (NaN: none), what the filter did
    (0..3) and its main reason (index into REASONS, -1 none), and the size of an alarm (0: none). `causes` of alarms by tick."""

    t_ns: Times
    count: Array
    filter: Array
    reason: Array
    alarm: Array
    causes: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.t_ns)


@dataclass(frozen=True, slots=True)
class Moment:
    """From `begin_s` to `end_s` after the first armed tick of `episode` there was trouble of a kind, `why` says which; `begin_ns`
    is the same on the robot's clock."""

    episode: str
    folder: Path
    kind: str
    why: str
    begin_s: float
    end_s: float
    begin_ns: int
    rarity: float

    def __str__(self) -> str:
        when = f"{self.begin_s:7.2f}..{self.end_s:<7.2f}"
        return f"{self.rarity:6.2f} {when} {self.kind:<11} {self.why}  [{self.episode}: {self.folder}]"


def signals_of(log: EpisodeLog) -> Signals:
    """The signals in `log`, read once from end to end. Raises DataError when it cannot be read."""
    rows: list[tuple[int, float, float, int, float]] = []
    causes: dict[int, str] = {}
    count, alarm, cause = float("nan"), 0.0, ""
    for _, _, value in log.iterate({"/arm/verdict", "/policy/choice", "/monitor/score"}):
        if isinstance(value, ChoiceNote):
            count = float(value.counts[value.winner]) if value.counts is not None else float("nan")
        elif isinstance(value, FailureScore):
            alarm, cause = _alarm(value)
        elif isinstance(value, Step) and value.verdict.mode is not Mode.DISARMED:
            if alarm:
                causes[len(rows)] = cause
            rows.append((value.t_ns, count, _level(value), _reason(value), alarm))
    t_ns, counts, levels, reasons, alarms = zip(*rows, strict=True) if rows else ((),) * 5
    return Signals(
        np.array(t_ns, dtype=np.int64),
        np.array(counts),
        np.array(levels),
        np.array(reasons, dtype=np.float64),
        np.array(alarms),
        causes,
    )


def _alarm(score: FailureScore) -> tuple[float, str]:
    if not score.alarm:
        return 0.0, ""
    ratio = score.score / score.threshold if score.threshold > 0 else 1.0
    return (max(ratio, 1.0) if np.isfinite(ratio) else 1.0), score.cause or "score above threshold"


def _level(step: Step) -> float:
    """What the filter did, of LEVELS; holding an arm nobody wanted to move is nothing."""
    verdict = step.verdict
    idle = verdict.decision is Decision.HOLD and {v.reason for v in verdict.violations} <= {Reason.NO_COMMAND}
    return 0.0 if idle else LEVELS[verdict.decision]


def _reason(step: Step) -> int:
    """Why the mode changed (if no operator asked), or the violation furthest beyond its bound, where something was done."""
    causes = [reason for reason in step.mode_cause if reason is not Reason.OPERATOR]
    if causes:
        return REASONS.index(causes[0])
    if step.verdict.decision is Decision.PASS or not step.verdict.violations:
        return -1
    return REASONS.index(max(step.verdict.violations, key=lambda violation: violation.amount).reason)


def sizes(found: Sequence[Signals], settings: HardCasesSettings) -> list[dict[str, Array]]:
    """The size of each kind of trouble at each tick, for each log; familiarity is judged over all logs together."""
    counts = np.concatenate([s.count for s in found]) if found else np.zeros(0)
    known = counts[np.isfinite(counts)]
    rare = float(np.quantile(known, settings.unfamiliar)) if known.size else 0.0
    return [
        {"unfamiliar": np.where(s.count <= rare, 1.0 / np.maximum(s.count, 1e-9), 0.0), "filter": s.filter, "alarm": s.alarm}
        for s in found
    ]


def rarities(found: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """``-log10`` of the share of all ticks with trouble of the kind at least as large; 0 where there is none."""
    every = {kind: np.sort(np.concatenate([s[kind] for s in found])) if found else np.zeros(0) for kind in KINDS}
    return [{kind: _rarity(size[kind], every[kind]) for kind in KINDS} for size in found]


def _rarity(size: Array, every: Array) -> Array:
    at_least = len(every) - np.searchsorted(every, size, side="left")
    return np.where(size > 0, -np.log10(np.maximum(at_least, 1) / max(len(every), 1)), 0.0)


def moments(episode: str, folder: Path, found: Signals, rarity: Mapping[str, Array], gap_s: float) -> list[Moment]:
    """The moments of one log, in time; ticks with trouble less than `gap_s` apart belong together."""
    made = []
    for kind, rows in _troubled(found, rarity):
        for part in np.split(rows, np.flatnonzero(np.diff(found.t_ns[rows]) > gap_s * NS_PER_S) + 1):
            if part.size:
                begin, end = ((found.t_ns[i] - found.t_ns[0]) / NS_PER_S for i in (part[0], part[-1]))
                worst = float(rarity[kind][part].max())
                made.append(
                    Moment(
                        episode, folder, kind, _why(kind, found, part), float(begin), float(end), int(found.t_ns[part[0]]), worst
                    )
                )
    return sorted(made, key=lambda moment: moment.begin_s)


def _troubled(found: Signals, rarity: Mapping[str, Array]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """The ticks of each kind of trouble, those of the filter by what it did."""
    for kind in KINDS:
        trouble = rarity[kind] > 0
        for level in WORDS if kind == "filter" else (None,):
            yield kind, np.flatnonzero(trouble if level is None else trouble & (found.filter == level))


def _why(kind: str, found: Signals, rows: NDArray[np.intp]) -> str:
    if kind == "unfamiliar":
        return f"pseudo-count {np.nanmin(found.count[rows]):.3g}"
    if kind == "alarm":
        return ", ".join(dict.fromkeys(found.causes[int(i)] for i in rows))
    level = float(found.filter[rows].max())
    reasons = dict.fromkeys(REASONS[int(r)].value for r in found.reason[rows] if r >= 0)
    return f"{WORDS[level]}: {', '.join(list(reasons)[:3]) or 'no reason given'}"


def hard_cases(
    logs: Iterable[tuple[str, Path]], limit: int, settings: HardCasesSettings
) -> tuple[list[Moment], list[tuple[str, str]]]:
    """The `limit` rarest moments of all `logs` (name, folder), and (name, why) of those that cannot be read.

    Holds five numbers a tick in memory, 50 MB for an hour of logs at 100 Hz.
    """
    names, found, faults = [], [], []
    for name, folder in logs:
        try:
            found.append(signals_of(read_log(folder)))
            names.append((name, folder))
        except DataError as error:
            faults.append((name, str(error)))
    rare = rarities(sizes(found, settings))
    every = [
        m for (name, folder), s, r in zip(names, found, rare, strict=True) for m in moments(name, folder, s, r, settings.gap)
    ]
    return sorted(every, key=lambda moment: -moment.rarity)[:limit], faults


def measure(episode: Recording, settings: HardCasesSettings) -> None:
    """Nothing but a look whether it is a log. Raises DataError when it is none."""
    if ROW_NS not in episode.columns:
        raise DataError(f"hard_cases: episode {episode.name} is no log of a robot, allowed those that robot-stack run wrote")


def gather(facts: Mapping[str, None], settings: HardCasesSettings, catalogue: Catalogue) -> dict[str, tuple[Signals, Array]]:
    """The signals of each log, and at each of its ticks the rarity of the rarest trouble."""
    entries = [entry for entry in catalogue.entries() if entry.name in facts]
    found = [signals_of(read_log(Path(entry.key))) for entry in entries]
    rare = rarities(sizes(found, settings))
    return {e.name: (s, np.max([r[kind] for kind in KINDS], axis=0)) for e, s, r in zip(entries, found, rare, strict=True)}


def label(episode: Recording, settings: HardCasesSettings, gathered: Mapping[str, tuple[Signals, Array]]) -> Labels:
    """The signals at each row. Raises DataError for a log that was never armed."""
    found, rarity = gathered[episode.name]
    if not len(found):
        raise DataError(f"hard_cases: episode {episode.name} was never armed")
    newest = np.maximum(np.searchsorted(found.t_ns, episode.columns[ROW_NS], side="right") - 1, 0)
    return {
        "hard_count": found.count[newest],
        "hard_filter": found.filter[newest],
        "hard_reason": found.reason[newest],
        "hard_alarm": (found.alarm[newest] > 0).astype(np.float64),
        "hard_rarity": rarity[newest],
        "hard_worst": float(rarity.max()),
    }


def tell(gathered: Mapping[str, tuple[Signals, Array]]) -> str:
    """The five logs with the rarest moments."""
    worst = sorted(((float(r.max(initial=0.0)), name) for name, (_, r) in gathered.items()), reverse=True)[:5]
    return "rarest moments: " + ", ".join(f"{name} {rarity:.2f}" for rarity, name in worst)


LABELLER = Labeller("hard_cases", 1, label, measure=measure, gather=gather, tell=tell)
