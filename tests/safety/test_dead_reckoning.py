"""The fallback that looks at the wheels alone."""

import numpy as np
import pytest

from robot_stack.errors import ContractError
from safety.dead_reckoning import BrakingFallback, DeadReckoning


def test_a_quarter_circle_by_the_wheels_ends_where_geometry_says() -> None:
    odometry, pose = DeadReckoning(wheelbase=5.0), np.zeros((1, 2))
    v, phi, dt = np.array([5.0]), np.array([np.pi / 4]), 1e-3
    for _ in range(round(0.5 * np.pi / dt)):
        pose = odometry.advance(pose, v, phi, dt)
    np.testing.assert_allclose(pose, [[5.0, np.pi / 2]], atol=5e-3)


def test_the_fallback_brakes_and_steers_towards_the_line_from_either_side() -> None:
    phi, a = BrakingFallback(0.01, 0.4, 2.0).command(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 0.1]]))
    np.testing.assert_allclose(phi, [-0.03, 0.03, -0.04])
    assert (a == -2.0).all()


@pytest.mark.parametrize("deceleration", [0.0, -1.0, float("nan")])
def test_a_fallback_that_does_not_brake_is_refused(deceleration: float) -> None:
    with pytest.raises(ContractError, match="BrakingFallback.deceleration"):
        BrakingFallback(0.01, 0.4, deceleration)


def test_a_vehicle_without_length_is_refused() -> None:
    with pytest.raises(ContractError, match=r"DeadReckoning.wheelbase: found 0.0"):
        DeadReckoning(0.0)
