"""The verdict of the gate as one HTML page that holds everything it shows, and the same figures as JSON beside it.

The episodes it points at, recorded ones and those played again, are a page of their own beside it (`replay.report`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from robot_stack.data.episode import Episode
from robot_stack.data.video import jpeg
from robot_stack.replay import plots
from robot_stack.replay.behaviour import Behaviour
from robot_stack.replay.gate import drawings
from robot_stack.replay.gate.evidence import Paired, whole
from robot_stack.replay.gate.judge import Judged
from robot_stack.replay.gate.probes import Worst
from robot_stack.replay.gate.rules import RULES, Finding
from robot_stack.replay.gate.simulation import worst_episodes
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.page import data_url, figure, template, write_html
from robot_stack.replay.protections import wilson
from robot_stack.replay.report import plain, report_on_logs

COLOURS = {
    "let through": "#a11d2b",
    "stopped": "#e2703a",
    "limited": "#f0b43c",
    "other command": "#2f6fde",
    "other reasons": "#b9c9e8",
    "same": "#e4e9ee",
}
TONES = {Finding.PROMOTE: "good", Finding.HOLD: "plain", Finding.REJECT: "bad"}
STRIP = 8
EPISODES = "episodes.html"


@dataclass(frozen=True, slots=True)
class Strip:
    """One of the worst moments: links to its episode and its log, pictures (time, data URL) by camera, the chunks drawn."""

    worst: Worst
    link: str
    log: str
    pictures: Mapping[str, Sequence[tuple[float, str]]]
    chunks: str


def write_verdict(judged: Judged, episodes: Sequence[Episode], logs: Mapping[str, Path], out: Path) -> Path:
    """Write `out`/verdict.html and .json; `logs`: the folder of each episode, by name, those played again too. Returns the page.

    The episodes pointed at go to `out`/`EPISODES`. Raises DataError when that cannot be written.
    """
    text = render(judged, strips(judged, episodes, logs, out), cards(judged, logs))
    page = write_html(out / "verdict.html", text, figures(judged))
    if shown := cards(judged, logs):
        report_on_logs([logs[name] for name in shown], out / EPISODES, "Episodes of the verdict")
    return page


def cards(judged: Judged, logs: Mapping[str, Path]) -> dict[str, str]:
    """Where each episode that the page points at, and that has a log, is shown: its name, and a link from the page."""
    compared = judged.evidence.compared
    names = [one.episode for one in (compared.worst if compared is not None else ())]
    names += [bad.name for bad in worst_episodes(judged.evidence.trials)]
    return {name: f"{EPISODES}#{quote(name)}" for name in names if name in logs}


def figures(judged: Judged) -> dict[str, Any]:
    """The verdict, the rules that fired and every number they looked at; what is not finite is null."""
    found = judged.evidence
    answer: dict[str, Any] = plain(
        {
            "verdict": judged.finding.value,
            "bundle": str(judged.case.bundle),
            "against": str(judged.case.against),
            "config": judged.case.config,
            "rules": [{"rule": f.rule, "finding": f.finding.value, "why": f.why} for f in judged.fired],
            "seconds": dict(judged.seconds),
            "notes": list(judged.notes),
            "settings": asdict(found.settings),
            "recordings": None if found.compared is None else asdict(found.compared),
            "parity": [dict(m.parity) for m in found.manifests or ()],
            "verdicts": [{"log": r.log, "ticks": r.ticks, "equal": r.equal, "accepted": r.accepted} for r in found.verdicts],
            "behaviour": [_behaviour(b) for b in found.behaviours],
            "behaviour_of_chunks": [_behaviour(b) for b in found.decided],
            "latency_s": found.latency_s,
            "latency_ratio": found.latency_ratio,
            "safety": [row for pair in found.trials for row in rows(pair)],
            "worst": [
                {"episode": bad.name, "candidate": ended(bad.candidate), "against": ended(bad.against)}
                for bad in worst_episodes(found.trials)
            ],
            "estimates": [asdict(one) for one in found.estimates],
        }
    )
    return answer


def _behaviour(b: Behaviour) -> dict[str, Any]:
    return {
        "log": b.log,
        "ticks": b.ticks,
        "counts": b.counts,
        "gone": b.gone,
        "new": b.new,
        "distance_rad": b.distance,
        "guarded_s": b.guarded_s,
        "first": {name: f"{d.t_s:.3f} s: {d.recorded} -> {d.replayed}" for name, d in b.first.items()},
    }


def rows(pair: Paired) -> list[dict[str, Any]]:
    """The safety table of one condition: a line for the candidate, one for the other bundle."""
    lines = []
    for who, outcomes in (("candidate", pair.candidate), ("against", pair.against)):
        n = len(outcomes)
        success, touched = sum(o.success for o in outcomes), sum(o.violation for o in outcomes)
        lines.append(
            {
                "variant": who,
                "scenario": pair.condition,
                "n": n,
                "success": success,
                "violation": touched,
                "stopped": sum(o.stop_s is not None for o in outcomes),
                "limited": float(np.mean([o.limited for o in outcomes])),
                "held": float(np.mean([o.held for o in outcomes])),
                "clearance_min": min(o.clearance for o in outcomes),
                "success_interval": wilson(success, n),
                "violation_interval": wilson(touched, n),
            }
        )
    return lines


def strips(judged: Judged, episodes: Sequence[Episode], logs: Mapping[str, Path], out: Path) -> list[Strip]:
    """The worst ten episodes, the worst moment of each in the middle of its pictures."""
    by_name = {episode.name: episode for episode in episodes}
    compared = judged.evidence.compared
    found = []
    for worst in compared.worst if compared is not None else ():
        episode = by_name[worst.episode]
        middle = round(worst.t_s * episode.rate_hz)
        at = np.clip(
            middle + np.arange(-STRIP // 2 + 1, STRIP // 2 + 1) * max(1, round(episode.rate_hz / 5)), 0, len(episode) - 1
        )
        pictures = {
            name: [(i / episode.rate_hz, data_url(jpeg(images[i]))) for i in at]
            for name, images in sorted(episode.images.items())
        }
        folder = logs.get(worst.episode)
        link = cards(judged, logs).get(worst.episode, "")
        found.append(Strip(worst, link, os.path.relpath(folder, out) if folder else "", pictures, drawings.chunk(worst)))
    return found


def render(judged: Judged, worst: Sequence[Strip], links: Mapping[str, str]) -> str:
    """The page. Text is escaped; drawings are SVG, pictures are data URLs: no other file is needed."""
    found = judged.evidence
    every = whole(found.trials) if found.trials else None
    fired = {f.rule: f for f in judged.fired}
    return template("gate.html.j2").render(
        judged=judged,
        tone=TONES[judged.finding],
        seconds=sum(judged.seconds.values()),
        rules=[(rule, fired.get(rule.name)) for rule in RULES],
        compared=_numbers(judged),
        behaviours=_timelines(found.behaviours),
        decided=_timelines(found.decided),
        colours=COLOURS,
        verdicts=found.verdicts,
        every=every,
        curves=[drawings.race(every), drawings.gap(every, found.settings.margin)] if every else [],
        safety=[(pair.condition, [_barred(row) for row in rows(pair)]) for pair in found.trials],
        failed=worst_episodes(found.trials),
        ended=ended,
        links=links,
        estimates=found.estimates,
        asked=found.settings.reward,
        worst=worst,
        ways=(("what was done", drawings.DONE), ("candidate", drawings.CANDIDATE), ("other bundle", drawings.AGAINST)),
    )


def ended(outcome: Outcome) -> str:
    """How an episode went, in words."""
    words = ["succeeded" if outcome.success else f"failed, ends in {outcome.final_mode.value}", f"{outcome.duration_s:.1f} s"]
    words += [f"touched the obstacle by {-1e3 * outcome.approach:.0f} mm"] if outcome.violation else []
    words += [
        f"{name} at {at:.1f} s" for name, at in (("FALLBACK", outcome.fallback_s), ("STOP", outcome.stop_s)) if at is not None
    ]
    return ", ".join(words)


def _timelines(behaviours: Sequence[Behaviour]) -> list[tuple[Behaviour, str, str]]:
    return [(b, plots.timeline(b.spans, b.duration_s, COLOURS, "change", False), plots.ruler(b.duration_s)) for b in behaviours]


def _numbers(judged: Judged) -> list[tuple[str, str, str]]:
    """What was measured on recordings: (what it is, candidate, other bundle)."""
    found = judged.evidence
    lines = []
    if found.manifests is not None:
        lines.append(("parity with PyTorch, rad", *(figure(m.parity.get("max_abs_rad")) for m in found.manifests)))
    if (c := found.compared) is not None:
        lines.append((f"error against what was done, rad (standing still: {c.standing:.4f})", *map(figure, c.error)))
        lines.append(
            (
                "ratio of these errors, 99 % interval",
                f"{c.error_ratio[1]:.2f} ({c.error_ratio[0]:.2f} to {c.error_ratio[2]:.2f})",
                "1",
            )
        )
        lines.append(
            ("distance between the bundles' mean chunks, rad (right: other noise alone)", figure(c.distance), figure(c.floor))
        )
        lines.append(("seam between one chunk and the next, rad", *map(figure, c.seam)))
        lines.append(("jerk, rad/s³", *map(figure, c.jerk)))
        lines += [
            (f"another picture of {name} moves the chunk by, rad", *map(figure, pair)) for name, pair in c.camera_use.items()
        ]
    if found.latency_s is not None:
        lines.append(("one decision computes, median ms of one core", *(figure(1e3 * s) for s in found.latency_s)))
    return [(name, one, other) for name, one, other in lines]


def _barred(row: Mapping[str, Any]) -> dict[str, Any]:
    bars = {
        f"{name}_bar": plots.interval(row[name], row["n"], row[f"{name}_interval"], good)
        for name, good in (("success", True), ("violation", False))
    }
    return {**row, **bars}
