"""One catalogue over every kind of dataset: what is in it, after its edits, one episode at a time."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from robot_stack.data.edits import apply, read_edits
from robot_stack.data.labels import INSTRUCTION, labels_folder, with_labels
from robot_stack.data.recording import Entry, Recording, Source
from robot_stack.errors import DataError
from robot_stack.types import ARMED, Mode

RATE_HZ = 30.0
"""Rows a second of formats that have no rows of their own: logs and bags."""


@dataclass(frozen=True)
class Catalogue:
    """The episodes of the dataset at `root`, with its edits applied. Nothing is read before it is asked for."""

    root: Path
    source: Source
    rate_hz: float

    @classmethod
    def open(cls, root: Path, rate_hz: float = RATE_HZ, modes: frozenset[Mode] = ARMED) -> "Catalogue":
        """`rate_hz`: rows a second of logs and bags; 0: a row for each tick; `modes`: the part of our logs that counts.

        Raises DataError when `root` is no dataset.
        """
        return cls(Path(root), source_of(Path(root), rate_hz, modes), rate_hz)

    def entries(self) -> Iterator[Entry]:
        """All episodes, lazily. Raises DataError where the index or the journal of edits cannot be read."""
        return apply(read_edits(self.root), self.source.entries(), lambda path: Catalogue.open(path, self.rate_hz).entries())

    def find(self, names: list[str]) -> Iterator[Entry]:
        """Those called `names`, in the catalogue's order (none: all). Raises DataError when one does not exist."""
        missing = dict.fromkeys(names)
        for entry in self.entries():
            if not names or entry.name in missing:
                missing.pop(entry.name, None)
                yield entry
        if missing:
            some = ", ".join(e.name for e in itertools.islice(self.entries(), 5))
            raise DataError(f"dataset {self.root}: found no episode {', '.join(missing)}, allowed {some}, ...; see `data ls`")

    def recording(self, entry: Entry, labels: Collection[str] | None = None) -> Recording:
        """What edits left of the episode, with its `labels` (None: all). Raises DataError naming the file that is missing or
        damaged."""
        source = self.source if entry.root == self.root else _opened(entry.root, self.rate_hz)
        found, task = source.recording(entry.key), entry.task
        if entry.labels and labels != ():
            found = with_labels(found, (labels_folder(self.root) / file for file in entry.labels), labels)
            task = found.constants.get(INSTRUCTION, task)
        if (entry.start_s, entry.stop_s, entry.stride) != (0.0, float("inf"), 1):
            found = found.cut(entry.start_s, entry.stop_s, entry.stride)
        return replace(found, name=entry.name, task=task or found.task)


@lru_cache(maxsize=8)
def _opened(root: Path, rate_hz: float) -> Source:
    return source_of(root, rate_hz)


def source_of(root: Path, rate_hz: float, modes: frozenset[Mode] = ARMED) -> Source:
    """The format of `root`, by what lies in it. Raises DataError when it is none of ours."""
    if (root / "meta" / "info.json").is_file() or (root / "meta").is_dir():
        from robot_stack.data.lerobot_source import LeRobotSource

        return _checked(LeRobotSource(root))
    if root.suffix in (".hdf5", ".h5") and root.is_file() or (root.is_dir() and any(root.glob("*.hdf5"))):
        from robot_stack.data.robomimic_source import RobomimicSource

        return RobomimicSource.open(root, rate_hz or RATE_HZ)
    if root.suffix in (".mcap", ".db3") or root.is_dir():
        from robot_stack.data.log_source import LogSource

        source = LogSource(root, rate_hz, modes)
        if next(source.folders(), None) is not None:
            return source
    found = "nothing of that kind" if root.exists() else "no such file or folder"
    raise DataError(
        f"dataset {root}: found {found}, allowed a LeRobot dataset (meta/info.json), a robomimic .hdf5 file, "
        "a folder of episode logs, or rosbag2 folders (.mcap, .db3)"
    )


def _checked(source: Source) -> Source:
    """`source`, once its head could be read."""
    assert source.kind
    return source
