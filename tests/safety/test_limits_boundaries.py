"""The joint limits at their edges: every limit of every joint, one unit in the last place inside and outside."""

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from safety.limits import JointLimits

SPEC = load_robot("sim_arm")
LIMITS = JointLimits(SPEC)
DT = SPEC.dt_ns * 1e-9
MIDDLE = 0.5 * (SPEC.q_min + SPEC.q_max)
REST = np.zeros(7)
ROOM = 1e-9 * (SPEC.q_max - SPEC.q_min)
each_joint = pytest.mark.parametrize("j", range(7), ids=SPEC.joint_names)


def _with(x: np.ndarray, j: int, value: float) -> np.ndarray:
    return np.where(np.arange(7) == j, value, x)


def test_limits_are_those_of_the_robot_less_a_billionth() -> None:
    assert LIMITS.dt == DT
    np.testing.assert_allclose(1.0 - LIMITS.qd_max / SPEC.qd_max, 1e-9, rtol=1e-3)
    np.testing.assert_allclose(1.0 - LIMITS.change / (SPEC.qdd_max * DT), 1e-9, rtol=1e-3)


@each_joint
def test_the_last_look_draws_the_line_at_the_position_limit_itself(j: int) -> None:
    for limit, away in ((SPEC.q_max[j], np.inf), (SPEC.q_min[j], -np.inf)):
        assert LIMITS.keep(_with(MIDDLE, j, limit), REST, REST)
        assert LIMITS.keep(_with(MIDDLE, j, np.nextafter(limit, -away)), REST, REST)
        assert not LIMITS.keep(_with(MIDDLE, j, np.nextafter(limit, away)), REST, REST)
        for beyond in (1e-12, 1e-6, 1.0, 1e300, np.inf):
            assert not LIMITS.keep(_with(MIDDLE, j, limit + np.sign(away) * beyond), REST, REST)


@each_joint
def test_the_last_look_draws_the_line_at_the_speed_limit_itself(j: int) -> None:
    for sign in (1.0, -1.0):
        top = LIMITS.qd_max[j]
        for speed, kept in ((top, True), (np.nextafter(top, 0.0), True), (np.nextafter(top, np.inf), False), (np.inf, False)):
            u = _with(REST, j, sign * speed)
            with np.errstate(invalid="ignore"):
                assert LIMITS.keep(MIDDLE, u, u) is kept


@each_joint
def test_the_last_look_allows_a_millionth_of_an_acceleration_and_no_more(j: int) -> None:
    for sign in (1.0, -1.0):
        u = _with(REST, j, sign * LIMITS.change[j] * (1.0 + 0.9e-6))
        assert LIMITS.keep(MIDDLE, u, REST) and LIMITS.keep(MIDDLE, REST, u)
        u = _with(REST, j, sign * LIMITS.change[j] * (1.0 + 1.1e-6))
        assert not LIMITS.keep(MIDDLE, u, REST) and not LIMITS.keep(MIDDLE, REST, u)


@each_joint
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_last_look_refuses_one_number_that_is_none(j: int, bad: float) -> None:
    with np.errstate(invalid="ignore"):
        assert not LIMITS.keep(_with(MIDDLE, j, bad), REST, REST)
        assert not LIMITS.keep(MIDDLE, _with(REST, j, bad), REST)
        assert not LIMITS.keep(MIDDLE, REST, _with(REST, j, bad))


def test_the_stop_speed_of_a_whole_number_of_ticks_is_that_many_changes() -> None:
    for ticks in range(9):
        gap = LIMITS.change * DT * (0.5 * ticks * (ticks + 1.0))
        np.testing.assert_allclose(LIMITS.stop_speed(gap), LIMITS.change * ticks, rtol=1e-9, atol=1e-12)


def test_between_whole_ticks_the_stop_speed_spreads_the_rest_over_all_of_them() -> None:
    gap = LIMITS.change * DT * 2.0  # one change and a half: 1.5 h now, 0.5 h after
    np.testing.assert_allclose(LIMITS.stop_speed(gap), LIMITS.change * 1.5, rtol=1e-9)
    np.testing.assert_allclose(LIMITS.stop_speed(LIMITS.change * DT * 0.25), LIMITS.change * 0.25, rtol=1e-9)


def test_without_a_gap_there_is_no_speed() -> None:
    for gap in (0.0, -1e-12, -1.0):
        assert (LIMITS.stop_speed(np.full(7, gap)) == 0.0).all()


def test_at_rest_in_the_middle_a_tick_may_change_the_speed_by_the_acceleration_both_ways() -> None:
    box = LIMITS.box(MIDDLE, REST)
    np.testing.assert_array_equal(box.upper, np.minimum(LIMITS.change, box.stop_upper))
    np.testing.assert_array_equal(box.lower, -box.upper)
    arm = slice(0, 6)
    np.testing.assert_array_equal(box.stop_upper[arm], LIMITS.qd_max[arm])
    np.testing.assert_array_equal(box.stop_lower[arm], -LIMITS.qd_max[arm])
    np.testing.assert_array_equal(box.upper[arm], LIMITS.change[arm])


def test_at_full_speed_the_box_ends_at_the_speed_limit() -> None:
    for sign in (1.0, -1.0):
        v = sign * LIMITS.qd_max
        box = LIMITS.box(MIDDLE, v)
        far, near = (box.upper, box.lower) if sign > 0 else (box.lower, box.upper)
        np.testing.assert_array_equal(far[:6], v[:6])
        np.testing.assert_array_equal(near[:6], v[:6] - sign * LIMITS.change[:6])


@each_joint
def test_near_a_limit_only_the_way_towards_it_is_closed(j: int) -> None:
    for limit, sign in ((SPEC.q_max[j], 1.0), (SPEC.q_min[j], -1.0)):
        box = LIMITS.box(_with(MIDDLE, j, limit - sign * 3.0 * ROOM[j]), REST)
        towards, away = (box.upper, box.lower) if sign > 0 else (box.lower, box.upper)
        assert towards[j] == pytest.approx(sign * 2.0 * ROOM[j] / DT, rel=1e-4)
        assert away[j] == pytest.approx(-sign * min(LIMITS.change[j], LIMITS.qd_max[j]), rel=1e-9)
        inside = LIMITS.box(_with(MIDDLE, j, limit - sign * 0.5 * ROOM[j]), REST)
        assert (inside.upper if sign > 0 else inside.lower)[j] == 0.0


def test_a_speed_no_limit_allows_leaves_the_box_the_one_that_stops_in_time() -> None:
    for sign in (1.0, -1.0):
        edge = SPEC.q_max if sign > 0 else SPEC.q_min
        q = edge - sign * (ROOM + LIMITS.change * DT)  # one tick of `change` is all that is left
        box = LIMITS.box(q, sign * 5.0 * LIMITS.change)
        np.testing.assert_allclose(box.lower, sign * LIMITS.change, rtol=1e-6)
        np.testing.assert_array_equal(box.lower, box.upper)
        back = LIMITS.box(q, -sign * 50.0 * LIMITS.qd_max)
        np.testing.assert_array_equal(back.lower, back.upper)
        assert (np.sign(back.lower) == -sign).all() and (np.abs(back.lower) <= LIMITS.qd_max).all()


def test_a_measured_state_inside_its_limits_is_left_as_it_is() -> None:
    v = np.array([1.0, -1.0, 0.5, -2.0, 2.0, 0.0, -0.01])
    q, settled = LIMITS.settle(MIDDLE, v)
    np.testing.assert_array_equal(q, MIDDLE)
    np.testing.assert_array_equal(settled, v)


def test_a_measured_state_outside_is_brought_to_the_limit_it_broke() -> None:
    for edge, away in ((SPEC.q_max, 1.0), (SPEC.q_min, -1.0)):
        q, v = LIMITS.settle(edge + away * 0.3, away * np.ones(7))
        np.testing.assert_array_equal(q, edge)
        assert (v == 0.0).all()
        q, v = LIMITS.settle(edge + away * 0.3, -away * np.full(7, 100.0))
        assert (np.sign(v) == -away).all()
        np.testing.assert_array_equal(np.abs(v[:6]), LIMITS.qd_max[:6])


def test_a_measured_speed_beyond_its_limit_is_brought_to_it_and_one_that_is_none_to_rest() -> None:
    _, v = LIMITS.settle(MIDDLE, np.array([9.0, -9.0, 9.0, -9.0, np.nan, np.inf, -np.inf]))
    top = LIMITS.qd_max
    np.testing.assert_array_equal(v, [top[0], -top[1], top[2], -top[3], 0.0, 0.0, 0.0])
