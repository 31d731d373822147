"""`robot-stack data VERB PATH key=value ...`: each verb is typed settings (`config/datasets.py`) and one function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_stack.config import datasets as config
from robot_stack.config.load import load
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.edits import read_edits, write_edits
from robot_stack.datasets.convert import Fault
from robot_stack.errors import ConfigError, DataError
from robot_stack.types import Mode

EXIT_FAULTS = 1
"""Some episodes are missing or damaged; they were named, and the rest is done."""


@dataclass(frozen=True, slots=True)
class Verb:
    """Its settings and what it does with them: prints, and returns the exit code."""

    settings: type[Any]
    call: Callable[[Any], int]


def main(words: Sequence[str]) -> int:
    """What `robot-stack data WORDS` does. Exit code 0, or 1 when episodes were left out. Raises ConfigError on other words."""
    verb, settings = parse(words)
    return verb.call(settings)


def parse(words: Sequence[str]) -> tuple[Verb, Any]:
    """The verb in `words` and its settings; the first bare word after it is the path."""
    if not words or words[0] not in VERBS:
        raise ConfigError(
            f"data: found {words[0] if words else 'no verb'!r}, allowed {', '.join(VERBS)}; try: robot-stack data ls PATH"
        )
    name, *rest = words
    if name in EDITS:
        name, rest = "edit", [*rest, f"do={name}"]
    if rest and "=" not in rest[0]:
        rest[0] = f"path={rest[0]}"
    return VERBS[name], load(VERBS[name].settings, rest)


def _ls(settings: config.DataLsCommand) -> int:
    from robot_stack.datasets.look import listed

    for line in listed(Catalogue.open(Path(settings.path), settings.rate_hz)):
        print(line)
    return 0


def _info(settings: config.DataInfoCommand) -> int:
    from robot_stack.datasets import look

    catalogue = Catalogue.open(Path(settings.path), settings.rate_hz)
    totals = look.Totals.of(catalogue.entries())
    print("\n".join(look.described(catalogue, totals)))
    if not (settings.check or settings.statistics):
        return _said(totals.faults)
    found = look.survey(catalogue, settings.check, settings.ray)
    if settings.statistics:
        first = look.first_readable(catalogue)
        print("\n".join(look.tabled(found, dict(first.names) if first else {})))
    return _said(found.faults)


def _said(faults: list[Fault]) -> int:
    for fault in faults:
        print(f"fault: {fault.name}: {fault.why}")
    if faults:
        print(f"{len(faults)} episodes have faults")
    return EXIT_FAULTS if faults else 0


def _show(settings: config.DataShowCommand) -> int:
    catalogue = Catalogue.open(Path(settings.path), settings.rate_hz, frozenset(Mode))
    if settings.rerun:
        from robot_stack.datasets.rerun_view import open_in_rerun

        return _said(open_in_rerun(catalogue, settings.episodes, settings.limit, settings.out))
    from robot_stack.datasets.browse import write_page

    faults = write_page(catalogue, settings)
    print(f"page: {settings.out}")
    return _said(faults)


def _hard(settings: config.DataHardCommand) -> int:
    from robot_stack.datasets.hard import write_hard_cases

    catalogue = Catalogue.open(Path(settings.path), settings.rate_hz, frozenset(Mode) - {Mode.DISARMED})
    found, faults = write_hard_cases(catalogue, settings)
    print("rarity  seconds          kind        why  [episode: log]")
    print("\n".join(str(moment) for moment in found) or "no moment stands out: nothing unfamiliar, no intervention, no alarm")
    if settings.out:
        print(f"page: {settings.out}")
    return _said(faults)


def _convert(settings: config.DataConvertCommand) -> int:
    from robot_stack.datasets.convert import convert

    catalogue = Catalogue.open(Path(settings.path), settings.rate_hz)
    found = convert(catalogue, Path(settings.out), settings.to, settings.codec, settings.ray)
    print(found)
    return EXIT_FAULTS if found.faults else 0


def _edit(settings: config.DataEditCommand) -> int:
    from robot_stack.datasets.edit import checked

    root = Path(settings.path)
    edit = checked(Catalogue.open(root), settings)
    write_edits(root, [*read_edits(root), edit])
    which = ", ".join(edit.episodes) or "all episodes"
    print(f"{root}: {edit.verb} {which}; nothing was touched: `data undo` takes it back, `data gc` makes it final")
    return 0


def _undo(settings: config.DataUndoCommand) -> int:
    root = Path(settings.path)
    edits = read_edits(root)
    if not edits:
        raise DataError(f"dataset {root}: found no edit to take back")
    write_edits(root, edits[:-1])
    last = edits[-1]
    print(f"{root}: took back {last.verb} {', '.join(last.episodes) or last.name or 'of all episodes'}")
    return 0


def _gc(settings: config.DataGcCommand) -> int:
    from robot_stack.datasets.edit import collect

    print(collect(Catalogue.open(Path(settings.path)), settings.yes))
    return 0


def _check(settings: config.DataCheckCommand) -> int:
    from robot_stack.collect.check import check_logs

    return EXIT_FAULTS if check_logs(settings) else 0


def _repair(settings: config.DataRepairCommand) -> int:
    from robot_stack.data.repair import repair

    print(repair(Path(settings.path), Path(settings.out)))
    return 0


EDITS = ("delete", "trim", "split", "merge", "rename", "retask", "subsample")
VERBS = {
    "ls": Verb(config.DataLsCommand, _ls),
    "info": Verb(config.DataInfoCommand, _info),
    "show": Verb(config.DataShowCommand, _show),
    "hard": Verb(config.DataHardCommand, _hard),
    "convert": Verb(config.DataConvertCommand, _convert),
    "edit": Verb(config.DataEditCommand, _edit),
    **{name: Verb(config.DataEditCommand, _edit) for name in EDITS},
    "undo": Verb(config.DataUndoCommand, _undo),
    "gc": Verb(config.DataGcCommand, _gc),
    "check": Verb(config.DataCheckCommand, _check),
    "repair": Verb(config.DataRepairCommand, _repair),
}
