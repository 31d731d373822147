"""Demonstrations of a robosuite task in robomimic's layout, made here by the task itself, re-simulated open loop."""

import json
from pathlib import Path

import numpy as np
import pytest

from drivers.robosuite_env import RobosuiteEnv
from robot_stack.cli import main

pytest.importorskip("robosuite", reason="needs robosuite: pip install 'robot_stack[robosuite]'")
pytest.importorskip("h5py", reason="needs h5py: pip install 'robot_stack[robosuite]'")
pytest.importorskip("matplotlib", reason="the picture needs it: pip install 'robot_stack[train]'")
HAND, CUBE, STEPS = slice(9, 12), slice(12, 15), 60
OPEN, CLOSED = -1.0, 1.0


def scripted(seen: np.ndarray, step: int) -> np.ndarray:
    """Above the cube, down to it, close, up."""
    way = seen[CUBE] - seen[HAND]
    if step < 14:
        way = way + [0.0, 0.0, 0.06]
    elif step >= 28:
        way = np.array([0.0, 0.0, 0.0 if step < 34 else 0.1])
    return np.array([*np.clip(40.0 * way, -1.0, 1.0), 0.0, 0.0, 0.0, OPEN if step < 28 else CLOSED])


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of cubes of different sizes and places; the second drops the hand's last actions."""
    import h5py

    path = tmp_path_factory.mktemp("lift") / "lift.hdf5"
    env = RobosuiteEnv("Lift")
    with h5py.File(path, "w") as file:
        about = {
            "env_name": "Lift",
            "env_type": 1,
            "env_kwargs": {"robots": ["Panda"], "control_freq": 20, "has_renderer": False},
        }
        file.create_group("data").attrs["env_args"] = json.dumps(about)
        for k, steps in enumerate((STEPS, STEPS // 2)):
            seen, group = env.reset(k)[0], file.create_group(f"data/demo_{k}")
            group.attrs["model_file"], states, actions, shown = env.mjcf, [], [], []
            for i in range(steps):
                states.append(env.get_env_state()["states"])
                actions.append(scripted(seen, i))
                shown.append(seen)
                seen = env.step(actions[-1])[0]
            group["states"], group["actions"] = np.array(states), np.array(actions)
            ends = np.cumsum(list(env.columns.values()))[:-1]
            for key, columns in zip(env.columns, np.split(np.array(shown), ends, axis=1), strict=True):
                group[f"obs/{key}"] = columns
    env.close()
    return path


def test_demonstrations_of_a_task_come_out_as_they_went(lifted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resim", f"dataset={lifted}", f"out={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "success: 1 of 2 re-simulated (the recordings do not say)" in said
    found = json.loads((tmp_path / "resim.json").read_text())
    assert found["title"] == "Lift, start as recorded"
    for one in found["recordings"]:
        assert one["worst"] < 1e-4 and one["places_worst"]["object"] < 1e-4
    assert set(found["recordings"][0]["by_joint"]) == {f"joint {i}" for i in range(1, 8)}
