"""`robot-stack data hard`: the worst moments of many logs, as lines and as a page of the episode browser."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from robot_stack.clock import NS_PER_S
from robot_stack.config.datasets import DataHardCommand
from robot_stack.config.labellers import HardCasesSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.recording import ROW_NS
from robot_stack.datasets.browse import Card, card_of, write_cards
from robot_stack.datasets.convert import Fault
from robot_stack.errors import DataError
from robot_stack.relabel.hard_cases import Moment, hard_cases

AROUND_S = 1.5
"""Seconds before and after a moment that the page shows."""


def write_hard_cases(catalogue: Catalogue, settings: DataHardCommand) -> tuple[list[Moment], list[Fault]]:
    """The rarest moments of the logs in `catalogue`, the rarest first; with `settings.out` also as a page. Bad logs are named.

    Raises DataError when the dataset is none of episode logs, or the page cannot be written.
    """
    if catalogue.source.kind != "episode logs":
        raise DataError(f"data hard: found {catalogue.source.kind}, allowed the logs that robot-stack run wrote")
    logs = [(entry.name, Path(entry.key)) for entry in catalogue.entries()]
    found, bad = hard_cases(logs, settings.limit, HardCasesSettings(unfamiliar=settings.unfamiliar))
    faults = [Fault(name, why) for name, why in bad]
    if settings.out:
        write_cards(catalogue, list(_cards(catalogue, found, settings.thumbnails)), faults, Path(settings.out), "moments")
    return found, faults


def _cards(catalogue: Catalogue, found: list[Moment], thumbnails: int) -> Iterator[Card]:
    entries = {entry.name: entry for entry in catalogue.entries()}
    whole = {name: catalogue.recording(entries[name]) for name in {moment.episode for moment in found}}
    for rank, moment in enumerate(found, start=1):
        recording = whole[moment.episode]
        begin = (moment.begin_ns - int(recording.columns[ROW_NS][0])) / NS_PER_S - AROUND_S
        last = (len(recording) - 1) / recording.rate_hz
        piece = recording.cut(min(max(begin, 0.0), last), begin + 2 * AROUND_S + moment.end_s - moment.begin_s, 1)
        card = card_of(piece, thumbnails, f"{moment.kind}: {moment.why}")
        name = f"{rank}. {moment.episode} at {moment.begin_s:.2f} s, rarity {moment.rarity:.2f}"
        yield replace(card, name=name, link=moment.folder.resolve().as_uri())
