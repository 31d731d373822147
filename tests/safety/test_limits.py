"""Joint limits that can always be kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_stack.config.robot_file import load_robot
from safety.braking import brake
from safety.limits import JointLimits, span

SPEC = load_robot("sim_arm")
LIMITS = JointLimits(SPEC)
DT = LIMITS.dt


def _braking_way(u: float, change: float) -> float:
    """How far a joint goes at speed u this tick and braking after, by counting."""
    way = 0.0
    while u > 0:
        way += u * DT
        u -= change
    return way


@given(gap=st.floats(0.0, 3.0), joint=st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_stop_speed_is_the_largest_that_stops_in_time(gap: float, joint: int) -> None:
    change = LIMITS.change[joint]
    u = float(LIMITS.stop_speed(np.full(7, gap))[joint])
    assert _braking_way(u, change) <= gap + 1e-12
    assert _braking_way(u * (1 + 1e-6) + 1e-9, change) >= gap - 1e-9


@given(seed=st.integers(0, 2**32 - 1), greed=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_from_any_reachable_state_every_limit_can_be_kept(seed: int, greed: float) -> None:
    rng = np.random.default_rng(seed)
    q, v = LIMITS.settle(rng.uniform(SPEC.q_min - 0.1, SPEC.q_max + 0.1), rng.normal(size=7) * 4)
    way = np.sign(rng.normal(size=7))
    for i in range(150):
        box = LIMITS.box(q, v)
        assert (box.lower <= box.upper).all()
        if i % 40 == 39:
            way = np.sign(rng.normal(size=7))
        far = np.where(way > 0, box.upper, box.lower)
        u = np.where(rng.random(7) < greed, far, rng.uniform(box.lower, box.upper))
        q_next = q + u * DT
        assert LIMITS.keep(q_next, u, v)
        q, v = q_next, u


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_braking_from_any_reachable_state_ends_at_rest_inside_the_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, v = LIMITS.settle(rng.uniform(SPEC.q_min, SPEC.q_max), rng.normal(size=7) * 4)
    for _ in range(80):
        u = brake(v, LIMITS.box(q, v), LIMITS.change)
        q_next = q + u * DT
        assert LIMITS.keep(q_next, u, v)
        q, v = q_next, u
    assert (v == 0.0).all()


def test_a_joint_at_full_speed_reaches_its_limit_and_stops_on_it() -> None:
    q, v = np.array(SPEC.q_home), np.zeros(7)
    for _ in range(400):
        v = LIMITS.box(q, v).upper
        q = q + v * DT
    assert (q <= SPEC.q_max).all() and (SPEC.q_max - q < 1e-6).all()


def test_a_measured_state_outside_its_limits_starts_inside() -> None:
    q, v = LIMITS.settle(SPEC.q_max + 0.2, np.full(7, np.nan))
    assert (q <= SPEC.q_max).all() and (v == 0.0).all()


def test_the_last_look_refuses_what_is_not_finite() -> None:
    q, v = np.array(SPEC.q_home), np.zeros(7)
    assert LIMITS.keep(q, v, v)
    assert not LIMITS.keep(np.where(np.arange(7) == 3, np.nan, q), v, v)
    assert not LIMITS.keep(q, np.where(np.arange(7) == 3, np.inf, v), v)
    assert not LIMITS.keep(SPEC.q_max + 1e-12, v, v)
    assert not LIMITS.keep(q, LIMITS.change * 1.1, v)


def test_joints_that_follow_one_another_are_taken_as_a_slice_and_others_one_by_one() -> None:
    assert span(np.array([1, 2, 3])) == slice(1, 4)
    apart = np.array([0, 1, 3])
    assert span(apart) is apart
