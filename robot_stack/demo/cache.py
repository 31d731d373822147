"""Results that cost minutes are kept under a hash of everything they were made from: settings, earlier results, source code."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

import robot_stack

PROJECT = Path(robot_stack.__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Stage:
    """One finished result: its folder and whether it was made in this run or found."""

    folder: Path
    fresh: bool


def source_of(names: Iterable[str]) -> str:
    """sha256 over the Python files in the named folders (not below them) or files of this project."""
    digest = hashlib.sha256()
    for name in names:
        path = PROJECT / name
        for file in [path] if path.is_file() else sorted(path.glob("*.py")):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def stage(root: Path, name: str, inputs: object, code: Iterable[str], make: Callable[[Path], object]) -> Stage:
    """The folder ``root/name-<hash>``, made by `make(folder)` unless a finished one is there. A half-made one is never used."""
    text = json.dumps(inputs, default=_plain, sort_keys=True) + source_of(code)
    folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if folder.exists():
        return Stage(folder, fresh=False)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    partial.rename(folder)
    return Stage(folder, fresh=True)
