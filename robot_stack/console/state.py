"""What the page is told, as plain JSON: `facts` once, `state` ten times a second. Pure; what is not finite becomes null."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from robot_stack.build import Run
from robot_stack.clock import seconds
from robot_stack.console.overlay import age_s, rows_to_come
from robot_stack.console.view import Event, View
from robot_stack.diagnostics import Level, Reading
from robot_stack.graph import POLICY_NODE
from robot_stack.types import Mode, Reason, Step

AHEAD_ROWS = 24
"""Rows of the chunk the joint plot gets at most."""


def facts(run: Run) -> dict[str, Any]:
    """What does not change while the graph runs: joints and cameras of the robot, and how old each thing may be (s)."""
    robot, safety = run.robot, run.safety
    silent_s = safety.policy_silent_s if run.bundle else safety.teleop_silent_s
    oldest = {"verdict": 0.5, "joints": safety.joints_stale_s, "chunk": silent_s, "score": safety.monitor_silent_s}
    oldest |= {"hazards": safety.hazards_stale_s} | {camera.name: run.monitor.frame_age_s for camera in robot.cameras}
    return {
        "robot": robot.name,
        "driver": robot.driver,
        "joints": [{"name": j.name, "min": j.q_min, "max": j.q_max, "unit": _unit(j.kind)} for j in robot.joints],
        "cameras": [{"name": c.name, "width": c.width, "height": c.height} for c in robot.cameras],
        "source": "policy" if run.bundle else "human",
        "shadow": run.shadow,
        "instruction": run.instruction,
        "oldest": oldest,
    }


def state(view: View, now_ns: int) -> dict[str, Any]:
    """What is known at `now_ns`. `mode` is null before the first verdict; ages are s."""
    step, score, note = view.step, view.score, view.note
    known = None if step is None else step.verdict
    return {
        "mode": None if known is None else known.mode.value,
        "mode_s": age_s(view.since_ns, now_ns),
        "why": "" if step is None else _why(step),
        "decision": None if known is None else known.decision.value,
        "margin": None if known is None else _finite(known.margin),
        "barrier": None if known is None else _finite(known.barrier),
        "late_ms": None if step is None else round(step.lateness_ns / 1e6, 2),
        "q": None if not view.joints else _finites(view.joints[-1].q),
        "command": None if known is None else _finites(known.command.q),
        "ahead": _ahead(view, now_ns),
        "score": None if score is None else _finite(score.score),
        "threshold": None if score is None else _finite(score.threshold),
        "cause": "" if score is None else _words(score.cause),
        "alarm": score is not None and score.alarm,
        "count": None if note is None or note.counts is None else _chosen(note.counts, note.winner),
        "counts": None if note is None or note.counts is None else _finites(note.counts),
        "thinking_ms": None if note is None else _finite(1e3 * note.latency_s),
        "ages": _ages(view, now_ns),
        "events": [_event(event, now_ns) for event in sorted(view.events, key=lambda event: -event.until_ns)],
        "health": _unwell(view.readings) if view.readings else None,
        "instruction": _instruction(view.readings),
        "recording": None if view.recording is None else asdict(view.recording),
    }


def _ages(view: View, now_ns: int) -> dict[str, float | None]:
    stamped = {"joints": view.joints[-1] if view.joints else None, "score": view.score, "hazards": view.hazards}
    ages = {name: None if value is None else age_s(value.t_ns, now_ns) for name, value in stamped.items()}
    ages["verdict"] = None if view.step is None else age_s(view.step.t_ns, now_ns)
    ages["chunk"] = None if view.chunk is None else age_s(view.chunk.t_obs_ns, now_ns)
    return ages | {name: age_s(frame.t_ns, now_ns) for name, frame in view.frames.items()}


def _ahead(view: View, now_ns: int) -> dict[str, Any] | None:
    """The rows of the newest chunk that are still to come: `t` s from now, `q` a list of rows."""
    if view.chunk is None:
        return None
    times, rows = rows_to_come(view.chunk, now_ns)
    every = max(1, -(-len(times) // AHEAD_ROWS))
    return {"t": _finites(times[::every]), "q": [_finites(row) for row in rows[::every]]} if len(times) else None


def _event(event: Event, now_ns: int) -> dict[str, Any]:
    if event.is_change:
        text = "" if not event.cause else f"because {_list(event.cause)}"
    else:
        text = _list(sorted(event.reasons, key=lambda reason: -event.reasons[reason]))
    return {
        "ago_s": age_s(event.until_ns, now_ns),
        "for_s": round(seconds(event.until_ns - event.t_ns), 2),
        "ticks": event.ticks,
        "mode": event.mode.value,
        "what": "mode" if event.is_change else event.decision.value,
        "text": text,
        "bad": event.mode in (Mode.STOP, Mode.FALLBACK) if event.is_change else event.decision.value in ("hold", "stop"),
    }


def _why(step: Step) -> str:
    """What the filter does and why, each reason once, and before it why the mode is new."""
    because = f"because {_list(step.mode_cause)}: " if step.mode_cause else ""
    reasons = _list(violation.reason for violation in step.verdict.violations)
    return f"{because}{step.verdict.decision.value}{f': {reasons}' if reasons else ''}"


def _instruction(readings: Mapping[str, Reading]) -> str | None:
    """What policy_node says it was told; None: it has not said."""
    told = (reading.values.get("instruction") for name, reading in readings.items() if name.endswith(f"{POLICY_NODE}: policy"))
    return next((str(text) for text in told if text is not None), None)


def _unwell(readings: Mapping[str, Reading]) -> list[dict[str, str]]:
    unwell = [(name, reading) for name, reading in readings.items() if reading.level is not Level.OK]
    return [{"name": name, "level": reading.level.name.lower(), "said": reading.message} for name, reading in unwell]


def _list(reasons: Iterable[Reason]) -> str:
    return _words(", ".join(dict.fromkeys(reason.value for reason in reasons)))


def _words(text: str) -> str:
    return text.replace("_", " ")


def _unit(kind: str) -> str:
    return "m" if kind == "prismatic" else "rad"


def _chosen(counts: Any, winner: int) -> float | None:
    return _finite(float(counts[winner])) if 0 <= winner < len(counts) else None


def _finite(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _finites(values: Any) -> list[float | None]:
    return [_finite(value) for value in values]
