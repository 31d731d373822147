"""One episode on its way between formats: its columns exactly as they lie in the file, its pictures where they lie.

`Episode` is what training reads (float64, decoded pictures, one grid); a `Recording` keeps every number's own type, so that it
comes out of a conversion bit for bit as it went in, and does not open a video before somebody wants its pictures.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import DataError
from robot_stack.types import Array, Image

STATE, ACTION, TIMESTAMP, ROW_NS = "observation.state", "action", "timestamp", "t_ns"
"""Columns with a meaning: measured and commanded joints (n, J), seconds since the first row, and the robot's clock in ns."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Pictures in a video file, one for each of `times_s` (n,): seconds since the file's first picture."""

    path: Path
    times_s: Array

    def __len__(self) -> int:
        return len(self.times_s)

    def pick(self, rows: slice) -> "Clip":
        """The pictures of `rows`, in the same file."""
        return Clip(self.path, self.times_s[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """`len(rows)` of the pictures that `read` yields one after the other, uint8 (H, W, 3); `rows` are theirs among them."""

    read: Callable[[], Iterator[Image]]
    rows: range

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Image]:
        wanted = iter(self.rows)
        row = next(wanted, None)
        for i, picture in enumerate(self.read()):
            if row is None:
                return
            if i == row:
                yield picture
                row = next(wanted, None)

    def pick(self, rows: slice) -> "Pictures":
        """The pictures of `rows` alone."""
        return Pictures(self.read, self.rows[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """n rows at `rate_hz`. `columns[name]` (n, ...) in the type they were stored in; `names[column]`: one for each component.

    `cameras[name]`: its n pictures; `constants`: what the whole episode has once, as JSON could hold it; `about`: what the
    dataset says of itself and another format has no place for. Raises DataError where lengths differ.
    """

    name: str
    rate_hz: float
    columns: Mapping[str, NDArray[Any]]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cameras: Mapping[str, Clip | Pictures] = field(default_factory=dict)
    task: str = ""
    robot: str = ""
    constants: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns.items()} | {n: len(c) for n, c in self.cameras.items()}
        if len(set(lengths.values())) != 1 or not len(self):
            raise DataError(f"episode {self.name}: found rows {lengths}, allowed as many in each, at least 1; is a file cut?")
        for name, words in self.names.items():
            width = self.columns[name][0].size if name in self.columns else len(words)
            if width != len(words):
                raise DataError(f"episode {self.name}: {name} has {width} numbers a row, allowed {len(words)}: {list(words)}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def numbers(self, name: str) -> Array:
        """(n, D) float64: the column `name`, one number or more a row."""
        return np.asarray(self.columns[name], dtype=np.float64).reshape(len(self), -1)

    def times_s(self) -> Array:
        """(n,) seconds since the first row: the column `timestamp`, or an even grid where there is none."""
        if TIMESTAMP in self.columns:
            times: Array = np.asarray(self.columns[TIMESTAMP], dtype=np.float64).reshape(-1)
            return times - float(times[0])
        return np.arange(len(self), dtype=np.float64) / self.rate_hz

    def cut(self, start_s: float, stop_s: float, stride: int) -> "Recording":
        """The rows from `start_s` up to `stop_s` (not included), every `stride`-th. Raises DataError when none is left."""
        stop = len(self) if math.isinf(stop_s) else row_of(stop_s, self.rate_hz)
        rows = slice(row_of(start_s, self.rate_hz), stop, stride)
        if not range(len(self))[rows]:
            found = f"{len(self) / self.rate_hz:.3f} s long"
            raise DataError(
                f"episode {self.name}: {found}, nothing is left of {start_s:g}..{stop_s:g} s; `data undo` takes it back"
            )
        columns = {name: values[rows] for name, values in self.columns.items()}
        if TIMESTAMP in columns:
            since = columns[TIMESTAMP].astype(np.float64)
            columns[TIMESTAMP] = (since - since[0]).astype(columns[TIMESTAMP].dtype)
        cameras = {name: pictures.pick(rows) for name, pictures in self.cameras.items()}
        return replace(self, columns=columns, cameras=cameras, rate_hz=self.rate_hz / stride)

    def faults(self) -> list[str]:
        """What is wrong with the numbers, as sentences: not finite, or time that stands still or goes back."""
        found = [self._not_finite(name) for name in (STATE, ACTION, TIMESTAMP) if name in self.columns]
        still = np.flatnonzero(np.diff(self.times_s()) <= 0)
        if len(still):
            found.append(f"{TIMESTAMP}: row {int(still[0]) + 1} is no later than the row before it ({len(still)} such rows)")
        return [fault for fault in found if fault]

    def _not_finite(self, name: str) -> str:
        bad = np.argwhere(~np.isfinite(self.columns[name]))
        if not len(bad):
            return ""
        row, *place = (int(i) for i in bad[0])
        which = self.names[name][place[0]] if place and name in self.names else place or ""
        return f"{name}: row {row} {which} is {self.columns[name][(row, *place)]} ({len(bad)} not finite), allowed finite numbers"


def row_of(time_s: float, rate_hz: float) -> int:
    """The first row at or after `time_s`."""
    return max(math.ceil(time_s * rate_hz - 1e-6), 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode as the catalogue lists it. `key` finds it in the dataset at `root`; `start_s`, `stop_s` and `stride` are what
    edits left of it. `rows`: how many that are, as far as the index knows. `note`: what is wrong, where the index says so.
    `labels`: files of labels (`data.labels`), the newest last, below the folder of labels of the dataset that lists it; whole
    paths where they came with another dataset.
    `mark`: what a person said of it while it was recorded; `flags`: what the quality gate found, as sentences."""

    name: str
    root: Path
    key: str
    rows: int
    rate_hz: float
    task: str = ""
    start_s: float = 0.0
    stop_s: float = math.inf
    stride: int = 1
    note: str = ""
    labels: tuple[str, ...] = ()
    mark: str = ""
    flags: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.rows / self.rate_hz


class Source(Protocol):
    """A dataset in one format. Opening one reads its index's head and nothing else."""

    @property
    def kind(self) -> str:
        """The format, as people name it."""
        ...

    def entries(self) -> Iterator[Entry]:
        """All episodes, lazily, in the dataset's order: memory does not grow with their number."""
        ...

    def recording(self, key: str) -> Recording:
        """The episode `key`, whole. Raises DataError naming the file that is missing or damaged."""
        ...
