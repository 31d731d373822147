"""Braking at its edges: the last tick, whole numbers of ticks, every joint in turn as the weakest, both ways."""

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from safety.braking import brake, stop_distance
from safety.limits import Box, JointLimits

SPEC = load_robot("sim_arm")
LIMITS = JointLimits(SPEC)
CHANGE, DT = LIMITS.change, LIMITS.dt
WIDE = Box(*(side * np.full(7, 9.0) for side in (-1, 1, -1, 1)))
BOTH = (1.0, -1.0)


@pytest.mark.parametrize("sign", BOTH)
@pytest.mark.parametrize("j", range(7), ids=SPEC.joint_names)
def test_the_joint_that_needs_longest_brakes_at_its_limit_and_the_others_as_much_slower(j: int, sign: float) -> None:
    v = 0.5 * CHANGE
    v[j] = sign * 4.0 * CHANGE[j]
    np.testing.assert_allclose(brake(v, WIDE, CHANGE), 0.75 * v, rtol=1e-12)
    np.testing.assert_allclose(stop_distance(v, CHANGE, DT), v * DT * 1.5, rtol=1e-12)  # 3/4 + 2/4 + 1/4


@pytest.mark.parametrize("sign", BOTH)
def test_between_one_and_two_ticks_a_rest_of_speed_is_left_for_the_second(sign: float) -> None:
    v = sign * 1.5 * CHANGE
    np.testing.assert_allclose(brake(v, WIDE, CHANGE), v / 3.0, rtol=1e-12)
    np.testing.assert_allclose(stop_distance(v, CHANGE, DT), v * DT / 3.0, rtol=1e-12)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
@pytest.mark.parametrize("sign", BOTH)
def test_what_one_tick_can_stop_is_stopped_in_one_tick(share: float, sign: float) -> None:
    v = sign * share * CHANGE
    assert not brake(v, WIDE, CHANGE).any() and not stop_distance(v, CHANGE, DT).any()


def test_braking_never_leaves_the_box() -> None:
    v = 4.0 * CHANGE
    low, high = brake(v, WIDE._replace(lower=v), CHANGE), brake(v, WIDE._replace(upper=0.1 * v), CHANGE)
    np.testing.assert_array_equal(low, v)
    np.testing.assert_array_equal(high, 0.1 * v)
