"""A dataset of any format as one of any other. Episodes that cannot be read are named and left out; the rest goes on.

Each episode becomes a piece, here or on Ray; the pieces are put together in the order of the catalogue by one process. So one
process and many write the same bytes. The new dataset appears under its name when it is whole, or not at all.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.recording import Entry, Recording
from robot_stack.data.video import ENCODERS
from robot_stack.errors import ConfigError, DataError
from robot_stack.parallel import parallel_map

TARGETS = ("lerobot-v3", "lerobot-v2.1", "robomimic", "log")


@dataclass(frozen=True, slots=True)
class Fault:
    """An episode that was left out, and why."""

    name: str
    why: str


@dataclass
class Conversion:
    """What was written to `out`, what was not, and the PSNR (dB) of each camera's worst episode; inf: the same pictures."""

    out: Path
    episodes: int = 0
    rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    psnr_db: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.out}: {self.episodes} episodes, {self.rows:,} rows; joints and times of each as they were, bit for bit"]
        for camera, worst in sorted(self.psnr_db.items()):
            how = "the same pictures, none re-encoded" if worst == float("inf") else f"encoded, PSNR {worst:.1f} dB or better"
            lines.append(f"  {camera}: {how}")
        return "\n".join([*lines, *(f"left out: {fault.name}: {fault.why}" for fault in self.faults)])


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """One episode made ready: what its writer needs, where it lies, and the PSNR of its cameras."""

    name: str
    rows: int
    piece: Any
    psnr_db: dict[str, float]


def convert(catalogue: Catalogue, out: Path, to: str, codec: str = "h264", ray: str = "") -> Conversion:
    """Write `catalogue` to the new `out` in the format `to` (one of TARGETS), pictures without packets encoded by `codec`.

    Raises ConfigError for a format there is none of, DataError when `out` exists, no episode could be read, or the disk is full:
    then nothing is left of `out`, and the source is as it was.
    """
    if to not in TARGETS:
        raise ConfigError(f"to: found {to!r}, allowed {', '.join(TARGETS)}")
    if codec not in ENCODERS:
        raise ConfigError(f"codec: found {codec!r}, allowed {', '.join(ENCODERS)}")
    if out.exists():
        raise DataError(f"dataset {out}: exists, allowed a new name: datasets are never overwritten")
    partial_out = out.with_name(f".{out.name}.{os.getpid()}.partial")
    found = Conversion(out)
    try:
        staging = partial_out / ".pieces"
        staging.mkdir(parents=True)
        make = partial(_ready, catalogue.root, catalogue.rate_hz, staging, to, codec)
        entries = enumerate(catalogue.entries())
        answers = parallel_map(make, list(entries) if ray else entries, ray)  # type: ignore[arg-type]
        _assemble(to, _kept(tqdm(answers, desc=f"writing {out.name}", unit="episode", leave=False), found, to), partial_out)
        shutil.rmtree(staging)
        (partial_out / "data.hdf5" if to == "robomimic" else partial_out).rename(out)
    except OSError as error:
        raise DataError(f"dataset {out}: {error.strerror or error}; nothing was written, the source is as it was") from error
    finally:
        shutil.rmtree(partial_out, ignore_errors=True)
    return found


def _ready(root: Path, rate_hz: float, staging: Path, to: str, codec: str, item: tuple[int, Entry]) -> _Ready | Fault:
    """The piece of one episode, or why there is none. It reads and writes nothing but its own files."""
    number, entry = item
    folder = staging / f"{number:08d}"
    try:
        found = _opened(root, rate_hz).recording(entry)
        if faults := found.faults():
            raise DataError("; ".join(faults))
        return _piece(found, folder, to, codec, number)
    except DataError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if _full(staging):
            raise
        return Fault(entry.name, str(error))


def _full(folder: Path) -> bool:
    """A full disk is no fault of an episode."""
    return shutil.disk_usage(folder).free < 2**20


_last: dict[tuple[Path, float], Catalogue] = {}


def _opened(root: Path, rate_hz: float) -> Catalogue:
    """The catalogue of `root`, kept open between the episodes of one process."""
    if (root, rate_hz) not in _last:
        _last.clear()
        _last[root, rate_hz] = Catalogue.open(root, rate_hz)
    return _last[root, rate_hz]


def _piece(found: Recording, folder: Path, to: str, codec: str, number: int) -> _Ready:
    exact = {name: float("inf") for name in found.cameras}
    if to.startswith("lerobot"):
        from robot_stack.data.lerobot_piece import write_piece

        piece: Any = write_piece(found, folder, codec)
        return _Ready(found.name, len(found), piece, {key.rpartition(".")[2]: film.psnr_db for key, film in piece.films.items()})
    if to == "robomimic":
        from robot_stack.data.robomimic_source import write_demonstration

        folder.mkdir()
        write_demonstration(found, folder / "demo.hdf5", f"demo_{number}")
        return _Ready(found.name, len(found), (folder / "demo.hdf5", f"demo_{number}", dict(found.about)), exact)
    from robot_stack.data.log_source import write_log

    write_log(found, folder / _file_name(found.name))
    return _Ready(found.name, len(found), folder / _file_name(found.name), exact)


def _kept(answers: Iterable[_Ready | Fault], found: Conversion, to: str) -> Iterator[Any]:
    """The pieces that fit together, counted; the others become faults."""
    first: Any = None
    for answer in answers:
        if isinstance(answer, _Ready) and to.startswith("lerobot"):
            from robot_stack.data.lerobot_write import fits

            first = first or answer.piece
            why = fits(first, answer.piece)
            answer = Fault(answer.name, why) if why else answer
        if isinstance(answer, Fault):
            found.faults.append(answer)
            continue
        found.episodes, found.rows = found.episodes + 1, found.rows + answer.rows
        for camera, psnr in answer.psnr_db.items():
            found.psnr_db[camera] = min(psnr, found.psnr_db.get(camera, psnr))
        yield answer.piece
    if not found.episodes:
        why = "\n".join(f"{fault.name}: {fault.why}" for fault in found.faults)
        raise DataError(f"dataset {found.out}: found no episode that can be read\n{why}")


def _assemble(to: str, pieces: Iterator[Any], out: Path) -> None:
    if to.startswith("lerobot"):
        from robot_stack.data import lerobot_write

        write: Callable[[Any, Path], None] = lerobot_write.write_v30 if to == "lerobot-v3" else lerobot_write.write_v21
        write(pieces, out)
    elif to == "robomimic":
        from robot_stack.data.robomimic_source import gather

        first = next(pieces)
        gather((piece[:2] for piece in itertools.chain([first], pieces)), out / "data.hdf5", first[2])
    else:
        for folder in pieces:
            folder.rename(out / folder.name)


def _file_name(name: str) -> str:
    """An episode's name as that of a folder."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name) or "episode"
