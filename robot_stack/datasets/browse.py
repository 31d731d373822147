"""The episode browser: one HTML page that holds everything it shows. Thumbnails, joints, label tracks, flags."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_stack.config.datasets import DataShowCommand
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.from_log import DECISIONS, MODES
from robot_stack.data.recording import ACTION, ROW_NS, STATE, TIMESTAMP, Clip, Pictures, Recording
from robot_stack.data.video import iterate_clip, jpeg
from robot_stack.datasets.convert import Fault
from robot_stack.datasets.flags import flags
from robot_stack.datasets.look import Totals
from robot_stack.errors import DataError
from robot_stack.replay import plots
from robot_stack.replay.page import data_url, template, write_html
from robot_stack.replay.views import Span
from robot_stack.types import Array, Image

THUMBNAIL_WIDTH, POINTS, LABELS = 160, 120, 8
"""Pixels; points of a joint's line; the most values a column of labels has."""

PALETTE = ("#a3adb8", "#2f6fde", "#0f9d8a", "#e0930f", "#a35ed0", "#d13b3b", "#6b7885", "#8a6d3b")
NAMED = {"mode": [mode.value for mode in MODES], "decision": [decision.value for decision in DECISIONS]}
COLOURS = {"mode": plots.MODE_COLOURS, "decision": plots.DECISION_COLOURS}


@dataclass(frozen=True, slots=True)
class Joint:
    """One joint's lines, as SVG paths in a box of 100 x 36; `wish` is empty where nothing was commanded by that name."""

    name: str
    path: str
    wish: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Card:
    """One episode as the page shows it; strips are (s, picture as a data URL) by camera, tracks are SVG, `link` is where
    its name leads, `mark` what a person said of it while it was recorded."""

    name: str
    task: str
    rows: int
    seconds: float
    rate_hz: float
    flags: list[str]
    strips: dict[str, list[tuple[float, str]]]
    tracks: list[str]
    joints: list[Joint]
    link: str = ""
    mark: str = ""


def write_page(catalogue: Catalogue, settings: DataShowCommand) -> list[Fault]:
    """Write the page of `settings.episodes` (none: the first `limit`) to `settings.out`; returns what could not be read.

    Raises DataError when the page cannot be written.
    """
    cards: list[Card] = []
    faults: list[Fault] = []
    for entry in itertools.islice(catalogue.find(settings.episodes), None if settings.episodes else settings.limit):
        try:
            card = card_of(catalogue.recording(entry), settings.thumbnails, entry.note)
            cards.append(replace(card, flags=[*card.flags, *entry.flags], mark=entry.mark))
        except DataError as error:
            faults.append(Fault(entry.name, str(error)))
    write_cards(catalogue, cards, faults, Path(settings.out))
    return faults


def write_cards(catalogue: Catalogue, cards: list[Card], faults: list[Fault], page: Path, what: str = "") -> None:
    """Write `page` with `cards` of episodes, or of `what` else, in that order. Raises DataError when it cannot be written."""
    text = template("browse.html.j2", Path(__file__).parent).render(
        title=catalogue.root.name,
        kind=catalogue.source.kind,
        totals=Totals.of(catalogue.entries()),
        shown=len(cards),
        what=what,
        flagged=sum(1 for card in cards if card.flags),
        faults=faults,
        cards=cards,
    )
    write_html(page, text)


def card_of(found: Recording, thumbnails: int, note: str) -> Card:
    """The card of `found` with so many thumbnails a camera; `note` (empty: none) comes to its flags."""
    odd = flags(found) + ([note] if note else [])
    strips = {}
    for camera, pictures in found.cameras.items():
        chosen = np.unique(np.linspace(0, len(found) - 1, thumbnails).astype(int))
        images = list(_chosen(pictures, chosen))
        if len(images) > 2 and all(np.array_equal(a, b) for a, b in itertools.pairwise(images)):
            odd.append(f"{camera}: all thumbnails are the same picture")
        urls = [data_url(jpeg(image, THUMBNAIL_WIDTH)) for image in images]
        strips[camera] = list(zip(found.times_s()[chosen].tolist(), urls, strict=True))
    seconds = len(found) / found.rate_hz
    return Card(
        found.name, found.task, len(found), seconds, found.rate_hz, odd, strips, list(_tracks(found)), list(_joints(found))
    )


def _chosen(pictures: Clip | Pictures, rows: Any) -> Iterator[Image]:
    """The pictures of `rows`; in a video each is looked up, so that the rest is not decoded."""
    if isinstance(pictures, Clip):
        for row in rows:
            yield next(iterate_clip(pictures.pick(slice(row, row + 1))))
        return
    wanted = set(rows.tolist())
    yield from (picture for row, picture in enumerate(pictures) if row in wanted)


def _joints(found: Recording) -> Iterator[Joint]:
    if STATE not in found.columns:
        return
    q = _thin(found.columns[STATE], len(found))
    names = found.names.get(STATE) or [f"{STATE} {i}" for i in range(q.shape[1])]
    wishes = found.names.get(ACTION, ())
    action = _thin(found.columns[ACTION], len(found)) if wishes else None
    for i, name in enumerate(names):
        wish = action[:, wishes.index(name)] if action is not None and name in wishes else None
        both = q[:, i] if wish is None else np.concatenate([q[:, i], wish])
        finite = both[np.isfinite(both)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        yield Joint(name, _path(q[:, i], low, high), "" if wish is None else _path(wish, low, high), low, high)


def _thin(values: Any, rows: int) -> Array:
    """At most POINTS rows, evenly spread."""
    chosen = np.linspace(0, rows - 1, min(rows, POINTS)).astype(int)
    wide: Array = np.asarray(values, dtype=np.float64).reshape(rows, -1)
    return np.take(wide, chosen, axis=0)


def _path(values: Array, low: float, high: float) -> str:
    x = np.linspace(0, 100, len(values))
    y = 33 - 30 * (values - low) / max(high - low, 1e-3)
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))


def _tracks(found: Recording) -> Iterator[str]:
    """Columns of one number a row: labels as coloured bars, the rest as curves; then the seconds."""
    seconds, drawn = len(found) / found.rate_hz, 0
    for name, values in found.columns.items():
        if name in (STATE, ACTION, TIMESTAMP, ROW_NS, "t_s") or values.ndim != 1:
            continue
        numbers = np.asarray(values, dtype=np.float64)
        distinct = np.unique(numbers[np.isfinite(numbers)])
        if not distinct.size or (distinct.size == 1 and name not in NAMED):
            continue
        drawn += 1
        if distinct.size <= LABELS and np.array_equal(distinct, np.round(distinct)):
            words = [_label(name, value) for value in distinct]
            colours = COLOURS.get(name) or dict(zip(words, PALETTE, strict=False))
            yield plots.timeline(_spans(found, name, numbers), seconds, colours, name, named=name != "decision")
        else:
            yield plots.curve(found.times_s(), numbers, seconds, name)
    if drawn:
        yield plots.ruler(seconds)


def _label(column: str, value: float) -> str:
    known = NAMED.get(column, [])
    return known[int(value)] if 0 <= value < len(known) else f"{value:g}"


def _spans(found: Recording, name: str, numbers: Array) -> list[Span]:
    edges = [0, *(np.flatnonzero(np.diff(numbers) != 0) + 1).tolist(), len(numbers)]
    times = np.append(found.times_s(), len(found) / found.rate_hz)
    return [
        Span(float(times[a]), float(times[b]), _label(name, float(numbers[a])), "")
        for a, b in itertools.pairwise(edges)
        if np.isfinite(numbers[a])
    ]
