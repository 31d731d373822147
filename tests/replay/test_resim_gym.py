"""Human demonstrations of a door, re-simulated: where they part from today's simulator, and when."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from robot_stack.cli import main
from robot_stack.data.robomimic import DemonstrationFile, read_demonstrations
from robot_stack.errors import DataError

pytestmark = pytest.mark.skipif(find_spec("h5py") is None, reason="needs h5py: pip install 'robot_stack[adroit]'")
adroit = pytest.mark.skipif(
    find_spec("gymnasium_robotics") is None, reason="needs gymnasium-robotics: pip install 'robot_stack[adroit]'"
)
SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2].parent / "shared")) / "data" / "adroit_door"


@pytest.fixture(scope="module")
def doors() -> DemonstrationFile:
    if not SHARED.is_dir():
        pytest.skip(f"needs {SHARED}: the human demonstrations of AdroitHandDoor")
    return read_demonstrations(SHARED)


def test_the_human_demonstrations_are_read_whole_and_in_their_order(doors: DemonstrationFile) -> None:
    assert doors.environment == "AdroitHandDoor-v1"
    assert [one.name for one in doors.demonstrations] == [f"demo_{i}" for i in range(25)]
    assert sum(len(one) for one in doors.demonstrations) == 6729
    assert {one.actions.shape[1] for one in doors.demonstrations} == {28}


@adroit
def test_the_hand_moves_as_recorded_until_it_touches_the_door(doors: DemonstrationFile) -> None:
    from robot_stack.clock import seconds
    from robot_stack.replay.resim.divergence import divergence
    from robot_stack.replay.resim.gymnasium import layout_of, recorded_motion, resimulate, started_as_seen, world_of

    world = world_of(doors)
    layout = layout_of(doors.environment, world, doors)
    one = doors.demonstrations[8]
    recorded = recorded_motion(one, layout, seconds(world.dt_ns))
    from_state = divergence(recorded, resimulate(one, world, layout))
    as_seen = divergence(recorded, resimulate(started_as_seen(one, world, layout), world, layout))
    world.close()
    assert from_state.joints[0].max() > 0.3, "the recorded state is not where the hand was seen"
    assert as_seen.joints[:50].max() < 0.01 and as_seen.rms < 0.5 * from_state.rms
    assert as_seen.recorded.success and as_seen.simulated.success
    assert abs(as_seen.simulated.reached["door_hinge"] - as_seen.recorded.reached["door_hinge"]) < 0.05


@adroit
def test_any_environment_and_dataset_are_read_column_by_column(tmp_path: Path) -> None:
    import h5py

    from robot_stack.replay.resim.divergence import divergence
    from robot_stack.replay.resim.gymnasium import layout_of, recorded_motion, resimulate, world_of

    with h5py.File(tmp_path / "swing.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = '{"env_name": "InvertedPendulum-v5", "env_type": "gymnasium", "env_kwargs": {}}'
        data["demo_0/actions"] = 0.1 * np.ones((6, 1))
        data["demo_0/obs/state"] = np.zeros((6, 4))
        data["demo_0/init_state/qpos"] = np.array([0.0, 0.02])
        data["demo_0/init_state/qvel"] = np.zeros(2)
    file = read_demonstrations(tmp_path)
    world = world_of(file)
    layout = layout_of(file.environment, world, file)
    one = file.demonstrations[0]
    first = resimulate(one, world, layout)
    assert divergence(first, resimulate(one, world, layout)).worst == 0.0
    found = divergence(recorded_motion(one, layout, 0.04), first)
    assert found.joints[0] == pytest.approx([0.0, 0.02, 0.0, 0.0])
    world.close()


def test_an_environment_without_mujoco_is_resimulated_from_its_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pendulum: a file made with the environment itself comes out to the bit; in another gravity it does not."""
    import h5py

    gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium: pip install 'robot_stack[adroit]'")
    pytest.importorskip("matplotlib", reason="the picture needs it: pip install 'robot_stack[train]'")
    pendulum, worst = gymnasium.make("Pendulum-v1"), []
    for gravity in (10.0, 9.0):
        with h5py.File(tmp_path / "swing.hdf5", "w") as file:
            about = {"env_name": "Pendulum-v1", "env_type": "gymnasium", "env_kwargs": {"g": gravity}}
            file.create_group("data").attrs["env_args"] = json.dumps(about)
            for seed in range(3):
                seen, actions = [pendulum.reset(seed=seed)[0]], np.sin(np.arange(40.0) + seed)[:, None]
                for action in actions[:-1]:
                    seen.append(pendulum.step(action)[0])
                file[f"data/demo_{seed}/actions"], file[f"data/demo_{seed}/obs/state"] = actions, np.array(seen)
                file[f"data/demo_{seed}/init_state/seed"] = seed
        assert main(["resim", f"dataset={tmp_path}", f"out={tmp_path / 'out'}"]) == 0
        worst.append(max(one["worst"] for one in json.loads((tmp_path / "out" / "resim.json").read_text())["recordings"]))
    assert worst[0] == 0.0 < 0.1 < worst[1]
    assert main(["resim", f"dataset={tmp_path}", f"out={tmp_path / 'out'}", "trust=true"]) == 2
    assert "no MuJoCo model underneath" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_a_file_that_is_no_dataset_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.hdf5").write_bytes(content)
    with pytest.raises(DataError, match="broken.hdf5.*robomimic's layout"):
        read_demonstrations(tmp_path)


def test_a_folder_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 0 .hdf5 files"):
        read_demonstrations(tmp_path)
