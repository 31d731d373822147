"""New references beside a reason: what a log's verdicts are meant to be since a change of behaviour was accepted.

A log is never edited. Beside it lies `accepted.json`, a list of acceptances, oldest first; the last one is in force. It holds
for each tick that comes out otherwise than recorded a digest of the whole verdict and the verdict in words; every other tick
must still be bit-equal to the recording.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import robot_stack
from robot_stack.data.wire_step import sentence, verdict_text
from robot_stack.errors import DataError
from robot_stack.types import Step

FILE = "accepted.json"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The references in force: (digest, words) by the index of the tick. Nothing accepted: empty."""

    reason: str = ""
    ticks: Mapping[int, tuple[str, str]] = field(default_factory=dict)


def digest(step: Step) -> str:
    """16 hex digits of every bit of the verdict of `step` and of its mode causes."""
    return hashlib.blake2b(verdict_text(step).encode(), digest_size=8).hexdigest()


def accepted(folder: Path) -> Accepted:
    """What is in force for the log in `folder`. Raises DataError when the file is damaged."""
    history = _history(folder)
    if not history:
        return Accepted()
    try:
        last = history[-1]
        return Accepted(last["reason"], {int(i): (found[0], found[1]) for i, found in last["ticks"].items()})
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{folder / FILE}: found {error!r}, allowed what `robot-stack replay accept=` wrote; restore it"
        ) from error


def accept(folder: Path, reason: str, changed: Mapping[int, Step]) -> Path:
    """Write that the ticks `changed` (by index, as they come out now) are meant, and why. Raises DataError without a reason."""
    if not reason.strip():
        raise DataError("accept: found no reason, allowed one sentence on why the behaviour is meant to change")
    ticks = {str(i): [digest(step), sentence(step)] for i, step in changed.items()}
    entry = {"reason": reason, "accepted": time.strftime("%Y-%m-%d"), "version": robot_stack.__version__, "ticks": ticks}
    text = json.dumps([*_history(folder), entry], indent=1) + "\n"
    try:
        (folder / FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder / FILE}: {error.strerror}; accept where the log can be written beside") from error
    return folder / FILE


def _history(folder: Path) -> list[dict[str, Any]]:
    if not (folder / FILE).is_file():
        return []
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{folder / FILE}: is no JSON ({error}); restore it from git") from error
    if not isinstance(found, list):
        raise DataError(f"{folder / FILE}: found {type(found).__name__}, allowed a list of acceptances; restore it from git")
    return found
