"""Any Gymnasium environment as a world: lock-step, a start from a given state, drives that can be changed."""

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from drivers.dynamics import Change, Part
from drivers.gym_world import GymWorld
from robot_stack.errors import ConfigError, DriverError
from robot_stack.interfaces import World

pytestmark = pytest.mark.skipif(
    find_spec("gymnasium_robotics") is None, reason="needs gymnasium-robotics: pip install 'robot_stack[adroit]'"
)


@pytest.fixture(scope="module")
def the_door() -> Iterator[GymWorld]:
    world = GymWorld("AdroitHandDoor-v1", "gymnasium_robotics")
    yield world
    world.close()


@pytest.fixture
def door(the_door: GymWorld) -> GymWorld:
    the_door.change([])
    the_door.reset(0)
    return the_door


def wave(world: GymWorld, steps: int = 12) -> np.ndarray:
    """What is seen while all drives follow a sine."""
    seen = []
    for i in range(steps):
        world.act(np.full(28, 0.3 * np.sin(0.5 * i)))
        world.advance(world.dt_ns)
        seen.append(world.observation)
    return np.array(seen)


def test_it_is_a_world_that_moves_when_stepped_and_never_otherwise(door: GymWorld) -> None:
    world: World = door
    before, t_ns = door.observation, door.t_ns
    world.advance(0)
    np.testing.assert_array_equal(door.observation, before)
    world.advance(3 * door.dt_ns)
    assert door.t_ns - t_ns == 3 * door.dt_ns == 30_000_000


def test_the_same_seed_and_actions_give_the_same_bits(door: GymWorld) -> None:
    first = wave(door)
    door.reset(0)
    np.testing.assert_array_equal(wave(door), first)


def test_a_state_that_was_read_can_be_begun_from(door: GymWorld) -> None:
    wave(door, 5)
    state, t_ns = door.state(), door.t_ns
    ahead = wave(door)
    door.start(state)
    np.testing.assert_allclose(wave(door), ahead, atol=1e-6)
    assert door.t_ns > t_ns


def test_a_state_it_does_not_take_is_refused_by_its_keys(door: GymWorld) -> None:
    with pytest.raises(DriverError, match="found a state of \\['qpos'\\]"):
        door.start({"qpos": np.zeros(3)})


@pytest.mark.parametrize("action", [np.zeros(27), np.full(28, np.nan)])
def test_an_action_of_another_shape_or_not_finite_is_refused(door: GymWorld, action: np.ndarray) -> None:
    with pytest.raises(DriverError, match="allowed finite"):
        door.act(action)


def test_time_that_is_no_whole_number_of_actions_is_refused(door: GymWorld) -> None:
    with pytest.raises(ConfigError, match="multiple"):
        door.advance(1)


def test_a_changed_drive_moves_otherwise_and_unchanged_as_before(door: GymWorld) -> None:
    first = wave(door)
    door.change([Change(Part.GAIN, 0.5)])
    door.reset(0)
    weak = wave(door)
    door.change([])
    door.reset(0)
    np.testing.assert_array_equal(wave(door), first)
    assert np.abs(weak - first).max() > 1e-3


def test_a_delay_of_two_actions_is_the_same_motion_two_actions_later(door: GymWorld) -> None:
    door.reset(0)
    door.act(np.zeros(28))
    door.advance(2 * door.dt_ns)
    prompt = wave(door)
    door.change([Change(Part.DELAY, 0.02)])
    door.reset(0)
    door.act(np.zeros(28))
    late = wave(door, 14)
    door.change([])
    np.testing.assert_allclose(late[2:, :27], prompt[:, :27], atol=1e-9)


def test_an_environment_without_mujoco_is_a_world_too_and_says_what_it_lacks() -> None:
    world = GymWorld("CartPole-v1")
    try:
        with pytest.raises(DriverError, match="no MuJoCo"):
            world.joint_names  # noqa: B018
        with pytest.raises(DriverError, match="no `dt`"):
            world.advance(1)
        assert world.observation.shape == (4,)
    finally:
        world.close()


def test_an_unknown_environment_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="NoSuchThing-v0"):
        GymWorld("NoSuchThing-v0")
