from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.relabel import RewardSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import TaskSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.data.recording import Pictures
from robot_stack.errors import ConfigError, DataError
from robot_stack.relabel.on_goal import region
from robot_stack.relabel.rewards import label
from robot_stack.types import Mode
from tests.data.made_up import recording
from tests.relabel.written import JOINTS, START, TICK, write_ticks

DETECTOR = RewardSettings(by="detector")


def test_a_mark_comes_first_then_a_column():
    made = recording(camera=False)
    done = replace(made, columns={**made.columns, "next.success": np.arange(40) == 39})
    assert label(done, RewardSettings(), None)["success"] is True
    said = label(replace(done, constants={"mark": "failure"}), RewardSettings(), None)
    assert said["success"] is False and not said["reward"].any()


def test_what_a_person_marked_while_it_was_recorded_is_read_from_the_log(tmp_path):
    with LogWriter(tmp_path / "set" / "log", LogMetadata("sim_arm", JOINTS), patient=True) as log:
        write_ticks(log, [Mode.TELEOP] * 30)
        log.mark("failure", START)
        log.mark("success", START + TICK)
    catalogue = Catalogue.open(tmp_path / "set")
    assert label(catalogue.recording(next(catalogue.entries())), RewardSettings(), None)["success"] is True


def test_the_reward_is_earned_at_the_last_step():
    found = label(replace(recording(camera=False), constants={"mark": "success"}), RewardSettings(), None)
    assert np.flatnonzero(found["reward"]).tolist() == [39]


def test_a_recorded_reward_stays_as_it_is():
    made = recording(camera=False)
    made = replace(made, columns={**made.columns, "reward": np.ones(40)}, constants={"mark": "success"})
    assert set(label(made, RewardSettings(), None)) == {"success"}


def test_an_episode_that_nothing_is_known_of_is_named():
    with pytest.raises(DataError, match="nothing says whether it succeeded"):
        label(recording(camera=False), RewardSettings(), None)


def test_hues_and_sources_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="one for each"):
        RewardSettings(hues=[1])
    with pytest.raises(ConfigError, match=r"rewards.by"):
        RewardSettings(by="luck")


def test_a_region_of_a_colour_is_found_across_the_end_of_the_circle_of_hues():
    hsv = np.zeros((40, 40, 3), np.uint8)
    hsv[10:20, 10:20] = (178, 200, 200)
    assert region(hsv, 2, 10) is not None and region(hsv, 30, 10) is None


@pytest.fixture(scope="module")
def cell():
    """Pictures of the simulated cell, cubes and goal put where a test says."""
    world = pytest.importorskip("drivers.sim_world", reason="needs mujoco: pip install 'robot_stack[sim]'")
    return world.SimWorld(load_robot("sim_arm"), TaskSettings())


def seen(cell, seed, cube=None, decoy=None):
    """An episode that ends with the cubes `cube`, `decoy` m from the middle of the goal (None: where the reset put them)."""
    cell.reset(seed)
    goal = cell.truth().goal_p
    for name, offset in (("cube", cube), ("decoy", decoy)):
        if offset is not None:
            at = cell._cube[name]
            cell._data.qpos[at : at + 3] = goal + np.array([*offset, 0.018])
    cell.advance(cell.spec.dt_ns)
    rgb = cell.render("scene").rgb
    made = recording(rows=2, camera=False)
    return replace(made, robot="sim_arm", cameras={"scene": Pictures(lambda: iter([rgb, rgb]), range(2))})


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_last_picture_says_which_cube_lies_on_the_goal(cell, seed):
    assert label(seen(cell, seed), DETECTOR, None)["on_goal"] == ""
    right = label(seen(cell, seed, cube=(0.02, -0.01)), DETECTOR, None)
    assert right["on_goal"] == "yellow" and right["success"] is True
    wrong = label(seen(cell, seed, decoy=(-0.02, 0.01)), DETECTOR, None)
    assert wrong["on_goal"] == "violet" and wrong["success"] is False


@pytest.mark.parametrize("offset", [(0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)])
def test_a_cube_beside_the_goal_is_not_on_it(cell, offset):
    assert label(seen(cell, 3, cube=offset), DETECTOR, None)["on_goal"] == ""


def test_a_camera_that_moves_or_another_robot_is_refused(cell):
    episode = seen(cell, 0)
    moving = replace(episode, cameras={"wrist": episode.cameras["scene"]})
    with pytest.raises(DataError, match="moves with joint"):
        label(moving, replace(DETECTOR, camera="wrist"), None)
    with pytest.raises(DataError, match="rewards.robot=NAME"):
        label(replace(episode, robot="made_up"), DETECTOR, None)
