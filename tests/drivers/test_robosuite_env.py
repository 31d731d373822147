"""A robosuite task as a world: a seed and a recorded state bring the same motion again."""

from collections.abc import Iterator

import numpy as np
import pytest

from drivers.dynamics import Change, Part
from drivers.gym_world import GymWorld
from robot_stack.errors import ConfigError, DriverError

pytest.importorskip("robosuite", reason="needs robosuite: pip install 'robot_stack[robosuite]'")


@pytest.fixture(scope="module")
def world() -> Iterator[GymWorld]:
    made = GymWorld("Lift", "robosuite", control_freq=20, camera_names="agentview", use_camera_obs=True)
    yield made
    made.close()


def wave(world: GymWorld, steps: int = 5) -> np.ndarray:
    """What is seen while the hand is led along and opened and closed."""
    seen = []
    for i in range(steps):
        world.act(np.array([0.3, -0.2, 0.1 * i, 0.0, 0.0, 0.1, (-1.0) ** i]))
        world.advance(world.dt_ns)
        seen.append(world.observation)
    return np.array(seen)


def test_it_shows_joints_hand_and_object_and_moves_at_its_own_period(world: GymWorld) -> None:
    assert world.columns == {"robot0_joint_pos": 7, "robot0_gripper_qpos": 2, "robot0_eef_pos": 3, "object": 10}
    assert world.observation.shape == (22,) and world.dt_ns == 50_000_000 and not world.success


def test_the_same_seed_brings_the_same_start_and_motion(world: GymWorld) -> None:
    world.reset(3)
    first = wave(world)
    world.reset(4)
    assert np.abs(wave(world) - first).max() > 1e-3
    world.reset(3)
    np.testing.assert_allclose(wave(world), first, atol=1e-6)


def test_a_state_that_was_read_can_be_begun_from(world: GymWorld) -> None:
    world.reset(5)
    state = world.state()
    ahead = wave(world)
    world.start(state)
    np.testing.assert_allclose(wave(world), ahead, atol=1e-6)


def test_drives_cannot_be_changed_and_an_unknown_task_is_named(world: GymWorld) -> None:
    with pytest.raises(DriverError, match="no MuJoCo model underneath that drives"):
        world.change([Change(Part.GAIN, 0.5)])
    with pytest.raises(ConfigError, match="'NoSuchTask', allowed Door, Lift"):
        GymWorld("NoSuchTask", "robosuite")
