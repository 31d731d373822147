"""Edits of a dataset: a journal beside it, applied whenever it is read. No recording is touched before `gc`.

Each line of `edits.jsonl` is one edit, with who, when and why; another dataset stands in it as seen from the journal's folder, so
that both may be moved together. An edit is a function on the stream of entries, so a journal of
any length costs no memory that grows with the dataset, and taking back the last edit is dropping the last line.
"""

import getpass
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from robot_stack.data.labels import label_file, labels_folder
from robot_stack.data.recording import Entry, row_of
from robot_stack.data.whole_file import whole
from robot_stack.errors import DataError

Entries = Iterator[Entry]


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit `verb` of `episodes` (empty: all); `other`: the absolute path of another dataset. What the others mean depends on
    the verb; see the functions below."""

    verb: str
    episodes: tuple[str, ...] = ()
    start_s: float = 0.0
    stop_s: float | None = None
    name: str = ""
    task: str = ""
    stride: int = 1
    other: str = ""
    who: str = field(default_factory=getpass.getuser)
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    why: str = ""

    def __post_init__(self) -> None:
        if self.verb not in VERBS:
            raise DataError(f"edit: found {self.verb!r}, allowed {', '.join(VERBS)}")
        if self.stride < 1 or self.start_s < 0 or not self.stop >= self.start_s:
            found = f"start {self.start_s:g} s, stop {self.stop:g} s, stride {self.stride}"
            raise DataError(f"edit {self.verb}: found {found}; allowed 0 <= start <= stop, stride of 1 or more")

    @property
    def stop(self) -> float:
        """`stop_s`, in numbers: None is the end."""
        return math.inf if self.stop_s is None else self.stop_s

    def means(self, entry: Entry) -> bool:
        """`entry` is one of those it is about."""
        return not self.episodes or entry.name in self.episodes


def journal(root: Path) -> Path:
    """Where the edits of the dataset `root` are written: in its folder, or beside a dataset that is one file."""
    return root / "edits.jsonl" if root.is_dir() else root.with_name(root.name + ".edits.jsonl")


def read_edits(root: Path) -> list[Edit]:
    """The edits of `root`, oldest first. Raises DataError naming the line that is none."""
    file, found = journal(root), []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.is_file() else (), start=1):
        try:
            values = json.loads(line)
            other = str((file.parent / values["other"]).resolve()) if values.get("other") else ""
            found.append(Edit(**{**values, "episodes": tuple(values["episodes"]), "other": other}))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}: line {number} is no edit ({error}); remove that line, or the file to undo all") from error
    return found


def write_edits(root: Path, edits: list[Edit]) -> None:
    """Replace the journal of `root`, all or nothing; without edits there is none. Raises DataError where that is refused."""
    file = journal(root)
    try:
        if not edits:
            file.unlink(missing_ok=True)
            return
        with whole(file) as partial, partial.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(_line(edit, file.parent.resolve())) + "\n" for edit in edits)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; the dataset and its earlier edits are as they were") from error


def _line(edit: Edit, folder: Path) -> dict[str, Any]:
    return asdict(edit) | {"other": os.path.relpath(edit.other, folder) if edit.other else ""}


def unused_runs(root: Path) -> list[Path]:
    """The folders of labels of `root` that no edit names, in order: their runs were taken back, or never came to an end."""
    folder, used = labels_folder(root), {edit.name for edit in read_edits(root) if edit.verb == "relabel"}
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in used) if folder.is_dir() else []


def apply(edits: list[Edit], entries: Entries, merged: Callable[[Path], Entries]) -> Entries:
    """`entries` after `edits`; `merged(path)` are those of another dataset."""
    for edit in edits:
        entries = VERBS[edit.verb](edit, entries, merged)
    return entries


def _delete(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """All but those."""
    return (entry for entry in entries if not edit.means(entry))


def _trim(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """From `start_s` to `stop_s` of each."""
    return (_cut(entry, edit.start_s, edit.stop) if edit.means(entry) else entry for entry in entries)


def _split(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """Each becomes NAME.a, up to `start_s`, and NAME.b, from there on."""
    for entry in entries:
        if edit.means(entry) and 0 < edit.start_s < entry.seconds:
            yield replace(_cut(entry, 0.0, edit.start_s), name=f"{entry.name}.a")
            yield replace(_cut(entry, edit.start_s, math.inf), name=f"{entry.name}.b")
        else:
            yield entry


def _merge(edit: Edit, entries: Entries, merged: Callable[[Path], Entries]) -> Entries:
    """Those of the dataset `other` come after; a name both have becomes OTHER:NAME."""
    seen = set()
    for entry in entries:
        seen.add(hash(entry.name))
        yield entry
    other = Path(edit.other)
    for entry in merged(other):
        labels = tuple(str(labels_folder(other) / file) for file in entry.labels)
        name = f"{other.name}:{entry.name}" if hash(entry.name) in seen else entry.name
        yield replace(entry, name=name, labels=labels)


def _rename(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """The one becomes `name`."""
    return (replace(entry, name=edit.name) if edit.means(entry) else entry for entry in entries)


def _retask(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """Their instruction is `task`."""
    return (replace(entry, task=edit.task) if edit.means(entry) else entry for entry in entries)


def _subsample(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """Every `stride`-th row; rate and rows become as many times fewer."""
    for entry in entries:
        k = edit.stride if edit.means(entry) else 1
        yield replace(entry, stride=entry.stride * k, rate_hz=entry.rate_hz / k, rows=-(-entry.rows // k))


def _relabel(edit: Edit, entries: Entries, merged: Any) -> Entries:
    """They have the labels of the run `name`, those of them it has a file for."""
    return (replace(entry, labels=(*entry.labels, label_file(edit.name, entry.name))) for entry in entries)


def _cut(entry: Entry, start_s: float, stop_s: float) -> Entry:
    """`entry` from `start_s` to `stop_s`, both counted from where it begins now."""
    start, stop = entry.start_s + start_s, min(entry.start_s + stop_s, entry.stop_s)
    end = entry.rows if math.isinf(stop_s) else min(entry.rows, row_of(stop_s, entry.rate_hz))
    return replace(entry, start_s=start, stop_s=stop, rows=max(end - row_of(start_s, entry.rate_hz), 0))


VERBS: dict[str, Callable[[Edit, Entries, Callable[[Path], Entries]], Entries]] = {
    "delete": _delete,
    "trim": _trim,
    "split": _split,
    "merge": _merge,
    "rename": _rename,
    "retask": _retask,
    "subsample": _subsample,
    "relabel": _relabel,
}
