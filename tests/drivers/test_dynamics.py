"""Drives that differ from the model: changes never add up, a delay is a delay, what is not there is named."""

import numpy as np
import pytest

from drivers.dynamics import Change, DelayLine, ModelDynamics, Part
from drivers.sim_world import SimWorld
from robot_stack.errors import ConfigError
from robot_stack.types import JointCommand

TICK = 10_000_000


def step_response(world: SimWorld, ticks: int = 20) -> np.ndarray:
    """The shoulder after each tick of a step of its command by 0.1 rad."""
    world.reset(3)
    goal = world.joints().q + np.array([0, 0.1, 0, 0, 0, 0, 0])
    found = []
    for _ in range(ticks):
        world.send(JointCommand(world.t_ns, goal))
        world.advance(TICK)
        found.append(world.joints().q[1])
    return np.array(found)


def test_changes_replace_each_other_and_none_is_the_model(world: SimWorld) -> None:
    modelled = step_response(world)
    world.change([Change(Part.GAIN, 0.5)])
    halved = step_response(world)
    world.change([Change(Part.GAIN, 0.5)])
    again = step_response(world)
    world.change([])
    np.testing.assert_array_equal(halved, again)
    np.testing.assert_array_equal(step_response(world), modelled)
    assert np.abs(halved - modelled).max() > 1e-3


def test_a_delay_of_two_ticks_is_the_same_response_two_ticks_later(world: SimWorld) -> None:
    prompt = step_response(world)
    world.change([Change(Part.DELAY, 0.02)])
    late = step_response(world)
    world.change([])
    np.testing.assert_allclose(late[2:], prompt[:-2], atol=1e-9)


@pytest.mark.parametrize("part", [Part.GAIN, Part.DAMPING, Part.ARMATURE, Part.MASS, Part.FRICTION])
def test_each_part_changes_the_response_of_its_joint(world: SimWorld, part: Part) -> None:
    modelled = step_response(world)
    world.change([Change(part, 3.0, ("shoulder",))])
    changed = step_response(world)
    world.change([])
    assert np.abs(changed - modelled).max() > 1e-5


def test_a_joint_without_a_drive_is_refused_by_name(world: SimWorld) -> None:
    with pytest.raises(ConfigError, match="found joint 'nose'.*shoulder"):
        world.change([Change(Part.GAIN, 1.0, ("nose",))])
    world.change([])


@pytest.mark.parametrize("delay_s", [-0.01, 60.0, float("nan")])
def test_a_delay_that_is_none_is_refused(world: SimWorld, delay_s: float) -> None:
    with pytest.raises(ConfigError, match="allowed 0 s to 10 s"):
        world.change([Change(Part.DELAY, delay_s)])
    world.change([])


def test_the_gain_of_a_position_servo_scales_command_and_feedback(world: SimWorld) -> None:
    model = world._model
    dynamics = ModelDynamics(model)
    dynamics.change([Change(Part.GAIN, 2.0, ("elbow",)), Change(Part.DAMPING, 3.0, ("elbow",))])
    position, velocity = model.actuator("elbow_q"), model.actuator("elbow_qd")
    assert (position.gainprm[0], position.biasprm[1]) == (3000.0, -3000.0)
    assert (velocity.gainprm[0], velocity.biasprm[2]) == (180.0, -180.0)
    dynamics.change([])
    assert (position.gainprm[0], velocity.gainprm[0]) == (1500.0, 60.0)


def test_a_delay_between_two_steps_mixes_them_in_proportion() -> None:
    line = DelayLine(1.25, np.array([0.0]))
    assert [float(line.through(np.array([x]))[0]) for x in (1.0, 2.0, 3.0, 3.0)] == [0.0, 0.75, 1.75, 2.75]


def test_the_table_takes_another_colour(world: SimWorld) -> None:
    before = world.render("scene").rgb.astype(int)
    world.paint_table((0.9, 0.2, 0.2))
    after = world.render("scene").rgb.astype(int)
    world.paint_table((0.42, 0.50, 0.60))
    assert np.abs(after - before).mean() > 10
