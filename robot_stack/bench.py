"""`robot-stack bench`: the figures of `benchmarks/`, which is part of the source tree and not of an installed package."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from robot_stack.errors import ConfigError

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def names() -> list[str]:
    """The figures there are. Raises ConfigError away from a source tree."""
    if not FOLDER.is_dir():
        raise ConfigError(f"benchmarks: found no folder {FOLDER}, allowed a source tree; next: clone it and `make bench`")
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def main(wanted: Sequence[str]) -> int:
    """The command."""
    run(wanted)
    return 0


def run(wanted: Sequence[str]) -> None:
    """Run the figures `wanted` (none: all), print each table, write each file. What follows "=" is for the figure: recorder=600.

    Raises ConfigError on an unknown name.
    """
    known = names()
    asked = [word.partition("=") for word in wanted or known]
    for name, _, _ in asked:
        if name not in known:
            raise ConfigError(f"bench: found {name!r}, allowed {', '.join(known)}")
    sys.path.insert(0, str(FOLDER.parent))
    harness = importlib.import_module("benchmarks.harness")
    for name, _, argument in asked:
        answer = importlib.import_module(f"benchmarks.bench_{name}").main([argument] if argument else [])
        results = answer if isinstance(answer, list) else [answer]
        print(harness.table(results))
        print("\n".join(f"written: {file}" for file in harness.store(results)), flush=True)
