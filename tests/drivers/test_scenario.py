"""Scenarios drive a lock-step world by episode time."""

import numpy as np
import pytest

from drivers.scenario import SCENARIOS, drive
from drivers.sim_world import SimWorld
from robot_stack.clock import NS_PER_S
from robot_stack.types import Array

TICK = 10_000_000


def _obstacle_path(world: SimWorld, name: str, limit_s: float) -> Array:
    begin, path = world.t_ns, []
    while world.t_ns - begin < limit_s * NS_PER_S:
        drive(SCENARIOS[name], world, (world.t_ns - begin) / NS_PER_S)
        world.advance(TICK)
        path.append(world.truth().obstacle_p)
    return np.array(path)


def test_in_nominal_nothing_happens(world: SimWorld) -> None:
    path = _obstacle_path(world, "nominal", 1.5)
    assert np.ptp(path, axis=0).max() == 0.0


def test_the_obstacle_walks_into_the_carry_path_at_a_bounded_speed_and_goes_home_again(world: SimWorld) -> None:
    home = world.truth().obstacle_p
    path = _obstacle_path(world, "obstacle", 8.0)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1) / 0.01
    assert speed.max() <= world.task.obstacle_speed + 1e-9
    assert np.linalg.norm(path[300] - home) > 0.2
    np.testing.assert_allclose(path[-1], home, atol=1e-9)
    np.testing.assert_allclose(path[:, 2], world.task.obstacle_height)


def test_the_obstacle_never_walks_into_a_still_arm(world: SimWorld) -> None:
    world.reset(3)
    begin, smallest = world.t_ns, np.inf
    while world.t_ns - begin < 5 * NS_PER_S:
        drive(SCENARIOS["obstacle"], world, (world.t_ns - begin) / NS_PER_S)
        world.advance(TICK)
        smallest = min(smallest, world.truth().clearance)
    assert smallest > 0.0


def test_when_chased_the_obstacle_ends_below_a_still_hand(world: SimWorld) -> None:
    path = _obstacle_path(world, "chase", 4.0)
    np.testing.assert_allclose(path[-1][:2], world.truth().tip_p[:2], atol=1e-3)
    np.testing.assert_allclose(path[-1][2], world.task.obstacle_height)


def test_the_scene_camera_freezes_in_mid_motion_and_not_before(world: SimWorld) -> None:
    drive(SCENARIOS["frozen"], world, 1.9)
    assert (world.render("scene").rgb != world.render("scene").rgb).any()
    drive(SCENARIOS["frozen"], world, 2.0)
    np.testing.assert_array_equal(world.render("scene").rgb, world.render("scene").rgb)


def test_dimmed_takes_the_light_and_noise_shakes_the_joints(world: SimWorld) -> None:
    light = world.render("wrist").rgb.mean()
    drive(SCENARIOS["dimmed"], world, 1.0)
    assert world.render("wrist").rgb.mean() < 0.2 * light
    world.reset(0)
    drive(SCENARIOS["noise"], world, 1.0)
    assert (world.joints().q != world.joints().q).any()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_found_under_its_own_name(name: str) -> None:
    assert SCENARIOS[name].name == name
