"""Trains into `folder`, the root of a small file system, that is full at the second save; says in JSON what it was told."""

import json
import os
import sys
from pathlib import Path

from policies.checkpoint import RESUME, WEIGHTS, load_checkpoint
from policies.train import _Run, train_policy
from robot_stack.data.picture_cache import kept
from robot_stack.errors import DataError, PolicyError
from tests.policies.training_process import SETTINGS, TRAIN, episodes

FILLS_AT = 6


def fill(folder: Path) -> Path:
    """Write until nothing fits any more."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def main(folder: Path, elsewhere: Path) -> None:
    out, said = folder / "out", {}
    whole = _Run._one

    def step(run: _Run, *arguments: object) -> None:
        if run.step == FILLS_AT and not (folder / "filler").exists():
            said["saved"] = (out / RESUME).read_bytes().hex()
            fill(folder)
        whole(run, *arguments)  # type: ignore[arg-type]

    _Run._one = step  # type: ignore[method-assign]
    try:
        train_policy(episodes(), SETTINGS, TRAIN, out)
    except PolicyError as error:
        said["error"] = str(error)
    found = {"kept": (out / RESUME).read_bytes().hex() == said.pop("saved"), "files": sorted(os.listdir(out))}
    try:
        kept(folder / "entry.npy", lambda: episodes()[0].images["scene"])
    except DataError as error:
        said["cache"] = str(error)
    found["entry"] = (folder / "entry.npy").exists()
    (folder / "filler").unlink()
    _Run._one = whole  # type: ignore[method-assign]
    train_policy(episodes(), SETTINGS, TRAIN, out)
    train_policy(episodes(), SETTINGS, TRAIN, elsewhere)
    found["same"] = (out / WEIGHTS).read_bytes() == (elsewhere / WEIGHTS).read_bytes() and load_checkpoint(out) is not None
    print(json.dumps(said | found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
