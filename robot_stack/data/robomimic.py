"""Demonstrations in robomimic's HDF5 layout: `data/demo_i/{actions, obs/<key>, states or init_state/<key>}`, read only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_stack.errors import DataError
from robot_stack.types import Array

EXACT, TRAINED_ON = "actions_exact", "robot_stack"
"""Beside `actions`, where those were scaled for robomimic: what they were. And the key of `env_args`, which robomimic copies into
its checkpoints, that says how: low and high (A,), joint_names (A,), rate_hz."""


@dataclass(frozen=True, slots=True, eq=False)
class Demonstration:
    """n actions (n, A) and, before each, what was observed, by name (n, ...); `initial_state`: the simulator's, by name.

    `model`: the MJCF of the world it was recorded in, where worlds differ from one to the next ("": they do not).
    """

    name: str
    actions: Array
    observations: Mapping[str, Array]
    initial_state: Mapping[str, Array] = field(default_factory=dict)
    model: str = ""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, slots=True, eq=False)
class DemonstrationFile:
    """The environment it was recorded in, as `env_args` says, and the demonstrations in the order of their numbers."""

    environment: str
    env_type: str
    options: Mapping[str, Any]
    demonstrations: tuple[Demonstration, ...]


def read_demonstrations(path: Path) -> DemonstrationFile:
    """All of the file `path`, or of the only .hdf5 file in that folder. Raises DataError when it is no such file."""
    import h5py

    file = hdf5_file(Path(path))
    try:
        with h5py.File(file) as opened:
            data = opened["data"]
            about = json.loads(data.attrs["env_args"])
            names = sorted(data, key=lambda name: int(name.rpartition("_")[2]))
            found = tuple(_demonstration(name, data[name]) for name in names)
            return DemonstrationFile(about["env_name"], str(about.get("env_type", "")), about.get("env_kwargs", {}), found)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{file}: found {error}; allowed robomimic's layout, data/demo_i/actions and obs") from error


def _demonstration(name: str, group: Any) -> Demonstration:
    actions = np.asarray(group[EXACT if EXACT in group else "actions"], dtype=float)
    observations = {key: np.asarray(value) for key, value in group["obs"].items()}
    if any(len(value) != len(actions) for value in observations.values()):
        raise ValueError(f"{name}: observations and actions of different lengths")
    state = {key: np.asarray(value, dtype=float) for key, value in group.get("init_state", {}).items()}
    if not state and "states" in group:
        state = {"states": np.asarray(group["states"][0], dtype=float)}
    return Demonstration(name, actions, observations, state, str(group.attrs.get("model_file", "")))


def hdf5_file(path: Path) -> Path:
    """The file `path`, or the only .hdf5 file in that folder. Raises DataError when there is none, or more."""
    files = [path] if path.is_file() else sorted(path.glob("*.hdf5"))
    if len(files) != 1:
        raise DataError(f"dataset {path}: found {len(files)} .hdf5 files, allowed the path of one, or a folder with one")
    return files[0]
