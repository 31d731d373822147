"""robomimic's HDF5 layout, `data/demo_i/{actions, obs/KEY, rewards, dones, ...}`, as a `Source`, and written.

`obs/state` (or the only vector among the observations) is the measured state; pictures (n, H, W, 3) uint8 are cameras; groups
that are not as long as the episode, like an initial simulator state, are kept as constants. What robomimic has no place for
(names, rate, instruction, number types) lies in the attribute `robot_stack` of each demonstration.

robomimic learns actions in [-1, 1] only: it squashes them by tanh. Others are scaled, each number by its own range in the whole
file; as they were they lie beside, and are what is read back.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robot_stack.data.recording import ACTION, STATE, TIMESTAMP, Entry, Pictures, Recording
from robot_stack.data.robomimic import EXACT, TRAINED_ON, hdf5_file
from robot_stack.data.video import iterate
from robot_stack.errors import DataError

OURS = "robot_stack"
REWARD, DONE = "next.reward", "next.done"
_PLACES = {ACTION: "actions", REWARD: "rewards", DONE: "dones"}
MARGIN = 0.05
"""Of the range of an action, left at both ends: tanh does not reach them."""


@dataclass(frozen=True)
class RobomimicSource:
    """The .hdf5 file `file` of the dataset `root`; `rate_hz` where it does not say its own."""

    root: Path
    file: Path
    rate_hz: float
    kind: str = "robomimic HDF5"

    @classmethod
    def open(cls, root: Path, rate_hz: float) -> "RobomimicSource":
        """The file `root`, or the only .hdf5 file in that folder. Raises DataError when it is no such file."""
        source = cls(root, hdf5_file(root), rate_hz)
        source._about()
        return source

    def entries(self) -> Iterator[Entry]:
        """All demonstrations in the order of their numbers."""
        with _opened(self.file) as data:
            for name in sorted(data, key=_number):
                ours = _ours(data[name])
                rows = int(data[name].attrs.get("num_samples", 0)) or _length(data[name])
                note = "" if rows else f"{name}: no actions"
                yield Entry(ours.get("name", name), self.root, name, rows, self._rate(ours), ours.get("task", ""), note=note)

    def recording(self, key: str) -> Recording:
        """The demonstration `key`, its numbers in their own types."""
        with _opened(self.file) as data:
            try:
                group, ours = data[key], _ours(data[key])
                rows = _length(group)
                arrays = {name: np.asarray(value) for name, value in _datasets(group) if value.shape[:1] == (rows,)}
                arrays |= {"actions": arrays.pop(EXACT)} if EXACT in arrays else {}
                constants = {n: np.asarray(v).tolist() for n, v in _datasets(group) if v.shape[:1] != (rows,)}
            except (KeyError, OSError, ValueError) as error:
                raise DataError(f"{self.file}: {key} cannot be read ({error}); copy the file again") from error
        pictures = {name: a for name, a in arrays.items() if name.startswith("obs/") and a.ndim == 4 and a.dtype == np.uint8}
        return Recording(
            name=ours.get("name", key),
            rate_hz=self._rate(ours),
            columns=_columns(arrays, set(pictures), ours),
            names={column: tuple(words) for column, words in ours.get("names", {}).items()},
            cameras={name.removeprefix("obs/"): _pictures(array) for name, array in pictures.items()},
            task=ours.get("task", ""),
            robot=ours.get("robot", ""),
            constants=ours.get("constants", {}) | constants,
            about=self._about(),
        )

    def _rate(self, ours: dict[str, Any]) -> float:
        return float(ours.get("rate_hz", self.rate_hz))

    def _about(self) -> dict[str, Any]:
        with _opened(self.file) as data:
            try:
                arguments = json.loads(data.attrs["env_args"])
                return {"env_args": {name: value for name, value in arguments.items() if name != TRAINED_ON}}
            except (KeyError, ValueError) as error:
                raise DataError(f"{self.file}: found {error!r} in data.env_args, allowed JSON, as robomimic has it") from error


def write_demonstration(found: Recording, file: Path, key: str) -> None:
    """`found` as the only demonstration of a new file; pictures compressed without loss. Raises DataError if the disk refuses."""
    try:
        with h5py.File(file, "w") as opened:
            _write(found, opened.create_group(f"data/{key}"))
    except OSError as error:
        file.unlink(missing_ok=True)
        why = "No space left on device" if "errno = 28" in str(error) else str(error)
        raise DataError(f"{file}: {why}; free some space, nothing was changed") from error


def gather(pieces: Iterable[tuple[Path, str]], file: Path, about: Any) -> None:
    """One file `file` of the demonstrations in `pieces`: files that each hold one, and its key. They are taken as they come."""
    total = 0
    with h5py.File(file, "w") as opened:
        data = opened.create_group("data")
        for piece, key in pieces:
            with h5py.File(piece) as source:
                source.copy(f"data/{key}", data, name=key)
            total += int(data[key].attrs["num_samples"])
            piece.unlink()
        data.attrs["total"] = total
        arguments = about.get("env_args", {"env_name": "robot_stack", "type": 2, "env_kwargs": {}})
        data.attrs["env_args"] = json.dumps({**arguments, TRAINED_ON: _scaled(data)})


def _scaled(data: h5py.Group) -> dict[str, Any]:
    """Scale the actions of all demonstrations to [-1, 1] where one lies outside; returns what undoes it, and whose they are."""
    ours = _ours(data[next(iter(data))])
    facts = {"joint_names": ours.get("names", {}).get(ACTION, []), "rate_hz": ours.get("rate_hz")}
    ends = [(demo["actions"][:].min(0), demo["actions"][:].max(0)) for demo in data.values() if "actions" in demo]
    if not ends:
        return facts
    low, high = np.min([a for a, _ in ends], axis=0).astype(float), np.max([b for _, b in ends], axis=0).astype(float)
    if low.min() >= -1.0 and high.max() <= 1.0:
        return facts
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    for demo in data.values():
        demo.move("actions", EXACT)
        scaled = 2.0 * (demo[EXACT][:] - low) / np.where(high > low, high - low, 1.0) - (high > low)
        demo.create_dataset("actions", data=scaled.astype(np.float32))
    return facts | {"low": low.tolist(), "high": high.tolist()}


def _write(found: Recording, group: h5py.Group) -> None:
    ours: dict[str, Any] = {"name": found.name, "rate_hz": found.rate_hz, "task": found.task, "robot": found.robot}
    ours["names"] = {name: list(words) for name, words in found.names.items()}
    ours["places"] = {}
    for name, values in found.columns.items():
        place = _PLACES.get(name) or f"obs/{name.removeprefix('observation.').replace('/', '.')}"
        ours["places"][place] = name
        _observe(group, place, np.ascontiguousarray(values))
    for name, pictures in found.cameras.items():
        _observe(group, f"obs/{name}", np.stack(list(iterate(pictures))))
    ours["constants"] = {name: value for name, value in found.constants.items() if not isinstance(value, list)}
    for name, value in found.constants.items():
        if isinstance(value, list):
            group.create_dataset(name, data=np.asarray(value))
    group.attrs["num_samples"] = len(found)
    group.attrs[OURS] = json.dumps(ours)


def _observe(group: h5py.Group, place: str, values: Any) -> None:
    """An array of n rows; an observation also as the one after, which robomimic's loaders ask for (the last has none: itself)."""
    options = {"compression": "gzip", "compression_opts": 4, "chunks": (1, *values.shape[1:])} if values.ndim == 4 else {}
    group.create_dataset(place, data=values, **options)
    if place.startswith("obs/"):
        group.create_dataset(f"next_{place}", data=np.concatenate([values[1:], values[-1:]]), **options)


def _opened(file: Path) -> "_Data":
    return _Data(file)


class _Data:
    """The group `data` of a file while it is open."""

    def __init__(self, file: Path) -> None:
        self._path = file

    def __enter__(self) -> h5py.Group:
        try:
            self._file = h5py.File(self._path)
            return self._file["data"]
        except (OSError, KeyError) as error:
            raise DataError(f"{self._path}: found {error}; allowed robomimic's layout, data/demo_i/actions and obs") from error

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _number(name: str) -> tuple[int, str]:
    digits = name.rpartition("_")[2]
    return (int(digits) if digits.isdigit() else 0, name)


def _length(group: h5py.Group) -> int:
    return len(group["actions"]) if "actions" in group else next((len(v) for n, v in _datasets(group) if n.startswith("obs/")), 0)


def _ours(group: h5py.Group) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(group.attrs.get(OURS, "{}"))
    return found


def _datasets(group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
    found: list[tuple[str, h5py.Dataset]] = []
    group.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return [(name, item) for name, item in found if not name.startswith("next_obs/")]


def _columns(arrays: dict[str, Any], pictures: set[str], ours: dict[str, Any]) -> dict[str, Any]:
    """State first, then actions, then the rest, by the names other formats use."""
    vectors = [name for name in arrays if name.startswith("obs/") and arrays[name].ndim == 2]
    state = "obs/state" if "obs/state" in vectors else vectors[0] if len(vectors) == 1 else ""
    back = {place: column for column, place in _PLACES.items()} | {state: STATE} | ours.get("places", {})
    named = {back.get(name, name.replace("obs/", "observation.")): a for name, a in arrays.items() if name not in pictures}
    first = [name for name in (STATE, ACTION, TIMESTAMP) if name in named]
    return {name: named[name] for name in (*first, *(n for n in named if n not in first))}


def _pictures(array: Any) -> Pictures:
    return Pictures(lambda: iter(array), range(len(array)))
