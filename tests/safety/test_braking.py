"""The safe stop."""

import numpy as np

from robot_stack.config.robot_file import load_robot
from safety.braking import brake, stop_distance
from safety.limits import JointLimits

SPEC = load_robot("sim_arm")
LIMITS = JointLimits(SPEC)
HOME = np.array(SPEC.q_home)


def test_braking_keeps_the_direction_of_motion() -> None:
    v = np.array([1.0, -0.5, 0.3, 0.2, -1.2, 0.1, 0.05])
    u = brake(v, LIMITS.box(HOME, v), LIMITS.change)
    np.testing.assert_allclose(u / v, (u / v)[0])
    assert np.isclose((np.abs(v - u) / LIMITS.change).max(), 1.0)


def test_braking_takes_as_long_as_the_slowest_joint_needs() -> None:
    v = np.array([1.0, -0.5, 0.3, 0.2, -1.2, 0.1, 0.0])
    q, ticks = HOME, 0
    needed = int(np.ceil((np.abs(v) / LIMITS.change).max()))
    while v.any():
        v = brake(v, LIMITS.box(q, v), LIMITS.change)
        q, ticks = q + v * LIMITS.dt, ticks + 1
    assert ticks == needed


def test_a_joint_too_near_its_limit_brakes_harder_than_the_others() -> None:
    q, v = HOME.copy(), np.zeros(7)
    q[0] = SPEC.q_max[0] - 0.03
    q, v = LIMITS.settle(q, np.array([2.0, 2.0, 0, 0, 0, 0, 0]))
    for _ in range(40):
        v = brake(v, LIMITS.box(q, v), LIMITS.change)
        q = q + v * LIMITS.dt
        assert (q <= SPEC.q_max).all()
    assert not v.any()


def test_stop_distance_is_what_braking_covers() -> None:
    v = np.array([1.0, -0.5, 0.3, 0.2, -1.2, 0.1, 0.05])
    predicted, q, u = stop_distance(v, LIMITS.change, LIMITS.dt), HOME, v
    while u.any():
        u = brake(u, LIMITS.box(HOME, u), LIMITS.change)
        q = q + u * LIMITS.dt
    np.testing.assert_allclose(q - HOME, predicted, atol=1e-9)


def test_an_arm_at_rest_stays_at_rest() -> None:
    assert not brake(np.zeros(7), LIMITS.box(HOME, np.zeros(7)), LIMITS.change).any()
    assert not stop_distance(np.zeros(7), LIMITS.change, LIMITS.dt).any()
