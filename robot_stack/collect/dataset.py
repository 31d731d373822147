"""The folder that episodes are recorded into: numbers that go on, and a trash."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from robot_stack.data.findings import TRASH
from robot_stack.data.log_reader import read_log
from robot_stack.errors import ConfigError, DataError

_NUMBERED = re.compile(r"(\d{3,})_")


def next_number(folder: Path) -> int:
    """One more than the greatest number of an episode in `folder`, so that nothing is overwritten."""
    return max((number for number, _ in _numbered(folder)), default=-1) + 1


def require_same(folder: Path, robot: str, joints: Sequence[str], instruction: str) -> None:
    """Raises ConfigError unless the newest episode in `folder` is of the same robot, joints and task."""
    newest = max(_numbered(folder), default=None)
    if newest is None:
        return
    found = read_log(newest[1]).metadata
    pairs = {
        "robot": (found.robot, robot),
        "joints": (list(found.joint_names), list(joints)),
        "task.instruction": (found.instruction, instruction),
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise ConfigError(f"{what}: found {ours!r}, allowed {theirs!r}, as in {newest[1]}; or record to another folder")


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if found := _NUMBERED.match(path.name):
            yield int(found[1]), path


def discard(log: Path) -> Path:
    """Move the log folder `log` to the trash beside it; where it is now. Raises DataError where that is refused."""
    trash = log.parent / TRASH
    try:
        trash.mkdir(exist_ok=True)
        names = (log.name, *(f"{log.name}.{i}" for i in range(1, 1_000_000)))
        where = next(trash / name for name in names if not (trash / name).exists())
        log.rename(where)
    except OSError as error:
        raise DataError(f"log {log}: cannot be moved to {trash}: {error.strerror}; it is where it was") from error
    return where
