"""The report: one HTML file that holds everything it shows, and the same figures as JSON beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_stack.data.log import read_log
from robot_stack.errors import RobotStackError
from robot_stack.parallel import parallel_map
from robot_stack.replay import plots
from robot_stack.replay.page import data_url, template, write_html
from robot_stack.replay.verdicts import replay_verdicts, safety_of
from robot_stack.replay.views import EpisodeView, episode_view
from robot_stack.types import Array, Decision


@dataclass(frozen=True, slots=True)
class Training:
    """One trained part: `figures` by name, `curve` (x, y) of its loss, `picture` a PNG or JPEG."""

    name: str
    figures: Mapping[str, float | str]
    curve: Sequence[tuple[float, float]] = ()
    curve_name: str = "loss"
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of `n` samples, ms."""

    name: str
    n: int
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Contents:
    """What a report shows. `protections`: rows of `replay.protections.as_rows`; `extra_latencies`: samples in s by name.

    `notes`: sentences shown at the top, for what the reader must know (a shortfall, a skipped part).
    """

    title: str
    episodes: Sequence[EpisodeView] = ()
    protections: Sequence[Mapping[str, Any]] = ()
    trainings: Sequence[Training] = ()
    extra_latencies: Mapping[str, Array] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_report(contents: Contents, out: Path) -> Path:
    """Write the page to `out` (a .html file, or a folder for report.html) and the figures beside it as .json; returns the page.

    Raises DataError when that cannot be written.
    """
    page = out if out.suffix == ".html" else out / "report.html"
    return write_html(page, render(contents), figures(contents))


def report_on_logs(logs: Sequence[Path], out: Path, title: str = "Recorded episodes", ray: str = "") -> Path:
    """Report on `logs` alone: what is in them, and whether today's code comes to the same verdicts. Returns the page.

    A log that can be read but not replayed is shown with a note. `ray` as in `parallel_map`: the page is the same.
    Raises DataError naming the log that cannot be read.
    """
    seen = list(parallel_map(_seen, logs, ray))
    return write_report(Contents(title, [view for view, _ in seen], notes=[note for _, note in seen if note]), out)


def _seen(path: Path) -> tuple[EpisodeView, str]:
    log, replay, note = read_log(path), None, ""
    try:
        replay = replay_verdicts(log, safety_of(log))
    except RobotStackError as error:
        note = f"{log.name} was not replayed: {error}"
    return episode_view(log, replay), note


def latencies(contents: Contents) -> list[Latency]:
    """The latency table over all episodes together."""
    samples: dict[str, list[Array]] = {}
    for source in [*(view.latencies for view in contents.episodes), contents.extra_latencies]:
        for name, values in source.items():
            samples.setdefault(name, []).append(np.asarray(values, dtype=np.float64))
    joined = {name: 1e3 * np.concatenate(parts) for name, parts in samples.items()}
    return [_latency(name, ms) for name, ms in joined.items() if len(ms)]


def _latency(name: str, ms: Array) -> Latency:
    p50, p95, p99 = (float(p) for p in np.percentile(ms, [50, 95, 99]))
    return Latency(name, len(ms), p50, p95, p99, float(ms.max()))


def figures(contents: Contents) -> dict[str, Any]:
    """Everything in the report that is a number or a word; what is not finite is null."""
    found: dict[str, Any] = plain(
        {
            "title": contents.title,
            "notes": list(contents.notes),
            "episodes": [_episode_figures(view) for view in contents.episodes],
            "latencies_ms": [asdict(row) for row in latencies(contents)],
            "protections": [dict(row) for row in contents.protections],
            "training": [{"name": t.name, "figures": dict(t.figures)} for t in contents.trainings],
        }
    )
    return found


def _episode_figures(view: EpisodeView) -> dict[str, Any]:
    return {
        "name": view.name,
        "scenario": view.scenario,
        "robot": view.robot,
        "started": view.started,
        "duration_s": view.duration_s,
        "complete": view.complete,
        "shadow": view.shadow,
        "final_mode": view.final_mode,
        "ending": view.ending,
        "modes": [asdict(span) for span in view.modes],
        "decision_shares": {d.value: view.share(d) for d in Decision},
        "reasons": dict(view.reasons),
        "margin_min": _smallest(view.margin),
        "barrier_min": _smallest(view.barrier),
        "alarms": [asdict(span) for span in view.alarms],
        "score_max": float(view.scores[:, 1].max()) if len(view.scores) else None,
        "drops": dict(view.drops),
        "replay": None if view.replay is None else asdict(view.replay) | {"ok": view.replay.ok},
    }


def _smallest(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if finite.size else None


def plain(value: Any) -> Any:
    """JSON has no NaN, no infinity, no numpy scalar and no tuple key."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def render(contents: Contents) -> str:
    """The page. Text is escaped; drawings are SVG, pictures are data URLs: no other file is needed."""
    return template("report.html.j2").render(
        contents=contents,
        cards=[_card(view) for view in contents.episodes],
        latencies=latencies(contents),
        protections=_grouped(contents.protections),
        trainings=[_training(t) for t in contents.trainings],
        headline=_headline(contents),
        mode_colours=plots.MODE_COLOURS,
        decision_colours=plots.DECISION_COLOURS,
    )


def _card(view: EpisodeView) -> dict[str, Any]:
    span = view.duration_s
    drawings = [
        plots.timeline(view.modes, span, plots.MODE_COLOURS, "mode", named=True),
        plots.timeline(view.decisions, span, plots.DECISION_COLOURS, "filter", named=False),
    ]
    if np.isfinite(view.margin).any():
        drawings.append(plots.curve(view.t_s, view.margin, span, "margin, m", floor=0.0))
    if np.isfinite(view.barrier).any():
        drawings.append(plots.curve(view.t_s, view.barrier, span, "barrier", floor=0.0))
    if len(view.scores):
        t_s, score, threshold = view.scores.T
        drawings.append(plots.curve(t_s, score, span, "monitor", limit=threshold, alarms=view.alarms))
    if view.counts:
        drawings.append(plots.counts_plot(view.counts, span, "counts"))
    most = max(view.reasons.values(), default=1)
    return {
        "view": view,
        "strips": {camera: [(p.t_s, data_url(p.jpeg)) for p in strip] for camera, strip in view.strips.items()},
        "drawings": [*drawings, plots.ruler(span)],
        "reasons": [(name, count, 100 * count / most) for name, count in view.reasons.items()],
        "shares": {d.value: view.share(d) for d in Decision},
        "margin_min": _smallest(view.margin),
    }


def _training(training: Training) -> dict[str, Any]:
    return {
        "name": training.name,
        "figures": training.figures,
        "curve": plots.spark(training.curve, training.curve_name),
        "picture": data_url(training.picture) if training.picture else "",
    }


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        success = plots.interval(row["success"], row["n"], row["success_interval"], good=True)
        violation = plots.interval(row["violation"], row["n"], row["violation_interval"], good=False)
        groups.setdefault(str(row["scenario"]), []).append({**row, "success_bar": success, "violation_bar": violation})
    return groups


def _headline(contents: Contents) -> list[tuple[str, str, str]]:
    """(figure, what it is, good | bad | plain) for the boxes at the top."""
    boxes = [(str(len(contents.episodes)), "episodes", "plain")] if contents.episodes else []
    replays = [view.replay for view in contents.episodes if view.replay is not None]
    if replays:
        equal, ticks = sum(r.equal for r in replays), sum(r.ticks for r in replays)
        boxes.append((f"{equal:,d} of {ticks:,d}", "verdicts replay bit-equal", "good" if all(r.ok for r in replays) else "bad"))
    table = {row.name: row for row in latencies(contents)}
    for name, words in (
        ("policy: one decision", "a policy decision, median"),
        ("camera to command", "camera to command, median"),
    ):
        row = next((r for n, r in table.items() if n.startswith(name)), None)
        if row is not None:
            boxes.append((f"{row.p50:.1f} ms", words, "plain"))
    late = next((r for n, r in table.items() if n.startswith("tick")), None)
    if late is not None:
        boxes.append((f"{late.p99:.2f} ms", "a tick late, 99th percentile", "plain"))
    return boxes
