"""The taxi: its plant, its steering law, its pictures. No part of a picture may tell what an aircraft could not see."""

import numpy as np
import pytest

from drivers import taxi
from drivers.runway import HEIGHT, WIDTH, Condition, render
from drivers.taxi import TaxiWorld
from robot_stack.errors import DriverError

QUIET = Condition(time_h=12.0, noise=0.0)


def test_the_plant_turns_and_drifts_as_the_paper_says() -> None:
    found = taxi.drift(np.array([[0.0, np.pi / 6]]), np.array([np.pi / 4]))
    np.testing.assert_allclose(found, [[2.5, 1.0]])


def test_the_steering_law_is_the_published_one_in_degrees() -> None:
    found = np.degrees(taxi.steering(np.array([[2.0, np.radians(5.0)]])))
    np.testing.assert_allclose(found, [-0.74 * 2.0 - 0.44 * 5.0])


def test_a_taxi_with_perfect_sight_returns_to_the_centre_line() -> None:
    world = TaxiWorld()
    world.place(5.0, np.radians(-8.0))
    for _ in range(400):
        world.steer(float(taxi.steering(np.array([[world.state.px, world.state.th]]))[0]))
        world.advance(50_000_000)
    assert abs(world.state.px) < 0.1 and world.t_ns == 20_000_000_000
    assert not world.state.failed


def test_the_world_moves_as_the_closed_form_does() -> None:
    world = TaxiWorld()
    world.place(1.0, 0.2)
    world.steer(0.1)
    before = np.array([[1.0, 0.2]])
    world.advance(1_000_000)
    after = np.array([world.state.px, world.state.th])
    np.testing.assert_allclose((after - before[0]) / 1e-3, taxi.drift(before, np.array([0.1]))[0], rtol=1e-3)


def test_braking_stops_the_aircraft_and_never_turns_it_back() -> None:
    world = TaxiWorld()
    world.accelerate(-2.0)
    world.advance(4_000_000_000)
    assert world.state.v == 0.0


@pytest.mark.parametrize("phi", [np.nan, np.inf, np.pi / 2, -2.0])
def test_a_steering_angle_that_is_none_is_refused_never_clamped(phi: float) -> None:
    with pytest.raises(DriverError, match="taxi.steer"):
        TaxiWorld().steer(phi)


def test_an_acceleration_a_camera_and_a_condition_that_are_none_are_refused() -> None:
    with pytest.raises(DriverError, match="taxi.accelerate"):
        TaxiWorld().accelerate(float("nan"))
    with pytest.raises(DriverError, match=r"found camera 'tail', allowed 'nose'"):
        TaxiWorld().render("tail")
    with pytest.raises(DriverError, match=r"Condition.haze: found -0.1, allowed 0..1"):
        Condition(haze=-0.1)


def test_the_same_seed_gives_the_same_start_and_the_same_pixels() -> None:
    frames = []
    for _ in range(2):
        world = TaxiWorld()
        world.reset(7)
        frames.append((world.state, world.render()))
    assert frames[0][0] == frames[1][0]
    assert frames[0][1].rgb.shape == (HEIGHT, WIDTH, 3) and (frames[0][1].rgb == frames[1][1].rgb).all()


def yellow_column(px: float, th: float) -> float:
    """Mean column of the yellow line in the lowest rows."""
    picture = render(np.array([[px, th]]), QUIET, np.random.default_rng(0))[0, 24:].astype(float)
    weight = np.clip(picture[..., 0] - picture[..., 2] - 40.0, 0.0, None)
    return float((weight * np.arange(WIDTH)).sum() / weight.sum())


def test_the_line_moves_left_in_the_picture_when_the_aircraft_moves_or_turns_right() -> None:
    middle = (WIDTH - 1) / 2
    assert yellow_column(0.0, 0.0) == pytest.approx(middle, abs=0.2)
    assert yellow_column(1.0, 0.0) < middle - 3.0
    assert yellow_column(0.0, 0.2) < middle - 3.0


def test_pictures_of_mirrored_states_at_noon_mirror_but_for_the_shadow() -> None:
    night = Condition(time_h=22.0, noise=0.0)
    left, right = render(np.array([[-3.0, -0.1], [3.0, 0.1]]), night, np.random.default_rng(0))
    assert np.abs(left.astype(int) - right[:, ::-1].astype(int)).max() <= 1


def test_the_hangars_shadow_falls_from_the_right_in_the_morning_and_from_the_left_in_the_evening() -> None:
    state = np.zeros((1, 2))
    morning, evening = (
        render(state, Condition(time_h=t, noise=0.0), np.random.default_rng(0))[0].astype(float) for t in (8.0, 16.0)
    )
    assert morning[20, 8].mean() > 1.5 * morning[20, -8].mean()
    assert evening[20, -8].mean() > 1.5 * evening[20, 8].mean()


def test_haze_takes_contrast_from_what_is_far_first() -> None:
    clear, hazy = (
        render(np.zeros((1, 2)), Condition(12.0, haze, 0.0), np.random.default_rng(0))[0].astype(float) for haze in (0.0, 0.03)
    )
    far, near = (hazy[row].std() / clear[row].std() for row in (9, 30))
    assert far < 0.5 < near
