"""What a dataset is: its episodes one line each, its totals, its faults, its statistics. Memory does not grow with it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.edits import read_edits
from robot_stack.data.recording import ACTION, STATE, Clip, Entry, Pictures, Recording
from robot_stack.data.statistics import Moments, merged
from robot_stack.datasets.convert import Fault
from robot_stack.errors import DataError
from robot_stack.parallel import parallel_map

BLOCK = 256
"""Episodes that are read by one task."""

T = TypeVar("T")


def listed(catalogue: Catalogue) -> Iterator[str]:
    """A heading, one line for each episode as it is found, and a last one that sums up."""
    yield f"{'episode':<24}{'rows':>8}{'s':>9}{'rows/s':>8}  task"
    count = rows = 0
    seconds = 0.0
    for entry in catalogue.entries():
        said = [f"[{text}]" for text in (entry.note, *entry.flags) if text] + ([f"({entry.mark})"] if entry.mark else [])
        yield "  ".join([f"{entry.name:<24}{entry.rows:>8}{entry.seconds:>9.2f}{entry.rate_hz:>8.4g}", entry.task, *said])
        count, rows, seconds = count + 1, rows + entry.rows, seconds + entry.seconds
    yield f"{count:,} episodes, {rows:,} rows, {seconds / 60:.1f} min"


@dataclass
class Totals:
    """A dataset summed up from its index: `tasks` and how many episodes have them, `faults` that the index shows."""

    episodes: int = 0
    rows: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    tasks: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Totals":
        """Of all `entries`."""
        found = cls()
        for entry in entries:
            found.episodes, found.rows, found.seconds = found.episodes + 1, found.rows + entry.rows, found.seconds + entry.seconds
            found.longest_s = max(found.longest_s, entry.seconds)
            found.tasks[entry.task] = found.tasks.get(entry.task, 0) + 1
            if entry.note:
                found.faults.append(Fault(entry.name, entry.note))
        return found


def described(catalogue: Catalogue, totals: Totals) -> Iterator[str]:
    """What `data info` says: format, size, joints, cameras, tasks, edits, faults."""
    yield f"{catalogue.root}: {catalogue.source.kind}, {_mebibytes(catalogue.root):,.1f} MiB"
    mean = totals.seconds / max(totals.episodes, 1)
    lengths = f"mean {mean:.1f} s, longest {totals.longest_s:.1f} s"
    yield f"{totals.episodes:,} episodes, {totals.rows:,} rows, {totals.seconds / 60:.1f} min ({lengths})"
    first = first_readable(catalogue)
    if first is not None:
        yield f"rows at {first.rate_hz:g} Hz; columns:"
        yield from (f"  {line}" for line in _columns(first))
    for task, count in sorted(totals.tasks.items(), key=lambda item: -item[1])[:20]:
        yield f"task of {count:,}: {task or '(none)'}"
    for edit in read_edits(catalogue.root):
        which = ", ".join(edit.episodes[:5]) + (f" and {len(edit.episodes) - 5} more" if len(edit.episodes) > 5 else "") or "all"
        yield f"edited {edit.when} by {edit.who}: {edit.verb} {which}{f' ({edit.why})' if edit.why else ''}"


def first_readable(catalogue: Catalogue) -> Recording | None:
    """The first episode that can be read, among the first few."""
    for entry in islice(catalogue.entries(), 5):
        try:
            return catalogue.recording(entry)
        except DataError:
            continue
    return None


def _columns(first: Recording) -> Iterator[str]:
    for name, values in first.columns.items():
        words = first.names.get(name, ())
        shown = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
        yield f"{name}: {values.dtype} {'x'.join(map(str, values.shape[1:])) or '1'}{f' ({shown})' if shown else ''}"
    for name, pictures in first.cameras.items():
        yield f"camera {name}: {_size(pictures)}"


def _size(pictures: Clip | Pictures) -> str:
    if isinstance(pictures, Clip):
        from robot_stack.data.remux import track_of

        try:
            track = track_of(pictures.path)
        except DataError as error:
            return str(error)
        return f"{track.width}x{track.height} {track.codec}"
    height, width, _ = next(iter(pictures)).shape
    return f"{width}x{height}, as pictures"


def _mebibytes(root: Path) -> float:
    files = [root] if root.is_file() else (path for path in root.rglob("*") if path.is_file())
    return float(sum(path.stat().st_size for path in files)) / 2**20


@dataclass
class Survey:
    """What reading everything found: moments of each column, faults of episodes."""

    moments: dict[str, Moments] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    episodes: int = 0
    rows: int = 0


def survey(catalogue: Catalogue, videos: bool, ray: str = "") -> Survey:
    """Read every number of every episode and, with `videos`, count the pictures of every video."""
    found, task = Survey(), partial(_block, catalogue.root, catalogue.rate_hz, videos)
    blocks = batched(catalogue.entries(), BLOCK)
    answers = parallel_map(task, list(blocks) if ray else blocks, ray)  # type: ignore[arg-type]
    for part in tqdm(answers, desc=f"reading {catalogue.root.name}", unit="block", leave=False):
        found.moments = merged(found.moments, part.moments)
        found.faults += part.faults
        found.episodes, found.rows = found.episodes + part.episodes, found.rows + part.rows
    return found


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _block(root: Path, rate_hz: float, videos: bool, entries: list[Entry]) -> Survey:
    catalogue, found = Catalogue.open(root, rate_hz), Survey()
    for entry in entries:
        try:
            recording = catalogue.recording(entry)
            faults = recording.faults() + (_video_faults(recording) if videos else [])
            if faults:
                raise DataError("; ".join(faults))
        except DataError as error:
            found.faults.append(Fault(entry.name, str(error)))
            continue
        found.moments = merged(found.moments, {name: Moments.of(values) for name, values in recording.columns.items()})
        found.episodes, found.rows = found.episodes + 1, found.rows + len(recording)
    return found


def _video_faults(recording: Recording) -> list[str]:
    from robot_stack.data.remux import count_pictures

    found = []
    for name, pictures in recording.cameras.items():
        if isinstance(pictures, Clip):
            try:
                count = count_pictures(pictures.path)
                if count < len(pictures):
                    found.append(f"{name}: {pictures.path} holds {count} pictures for {len(pictures)} rows")
            except DataError as error:
                found.append(str(error))
    return found


def tabled(found: Survey, names: dict[str, Any]) -> Iterator[str]:
    """The moments as a table, one line for each component; state and actions by the names of their joints."""
    yield f"{'column':<44}{'numbers':>11}{'min':>12}{'max':>12}{'mean':>12}{'std':>12}"
    for name, moments in found.moments.items():
        lists = moments.as_lists()
        words = names.get(name) or [str(i) for i in range(len(lists["min"]))]
        for i, word in enumerate(words):
            label = f"{name}[{word}]" if len(words) > 1 or name in (STATE, ACTION) else name
            figures = "".join(f"{lists[kind][i]:>12.5g}" for kind in ("min", "max", "mean", "std"))
            yield f"{label:<44}{int(moments.count[i]):>11,}{figures}"
