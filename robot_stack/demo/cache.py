"""Results that cost minutes are kept under a hash of everything they were made from: settings, earlier results, source code."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Stage:
    """One finished result: its folder and whether it was made in this run or found."""

    folder: Path
    fresh: bool


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def _source(modules: Iterable[ModuleType]) -> str:
    digest = hashlib.sha256()
    for module in sorted(modules, key=lambda m: m.__name__):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def stage(root: Path, name: str, inputs: object, code: Iterable[ModuleType], make: Callable[[Path], None]) -> Stage:
    """The folder ``root/name-<hash>``, made by `make(folder)` unless a finished one is there. A half-made one is never used."""
    text = json.dumps(inputs, default=_plain, sort_keys=True) + _source(code)
    folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if folder.exists():
        return Stage(folder, fresh=False)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    partial.rename(folder)
    return Stage(folder, fresh=True)
