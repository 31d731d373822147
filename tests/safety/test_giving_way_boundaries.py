"""Slowing, pushing aside, evading and braking at their edges, on an arm of two joints and a gripper, with numbers by hand."""

from math import nextafter

import numpy as np
import pytest

from robot_stack.types import Array, Decision, Reason, Violation
from safety import qp
from safety.constraints import Rows
from safety.giving_way import Answer, GivingWay, _slowing
from safety.limits import Box

QD_MAX = np.array([0.1, 0.4, 1.0])
LEAST = 0.25
WAYS = GivingWay(np.array([0, 1]), np.array([2]), QD_MAX, LEAST)
REST = np.zeros(3)
X, Y, GRIP = np.eye(3)
WIDE = Box(np.full(3, -9.0), np.full(3, 9.0), np.full(3, -9.0), np.full(3, 9.0))
BEFORE = (Violation(Reason.KEEP_OUT, 0.5, 2),)


def _rows(A: list[list[float]], b: list[float], soft: bool = False) -> Rows:
    return Rows(np.array(A), np.array(b), np.full(len(b), soft), ((Reason.KEEP_OUT, 0),) * len(b))


def _box(upper: list[float]) -> Box:
    return WIDE._replace(upper=np.array(upper))


@pytest.mark.parametrize(
    ("A", "b", "s"),
    [
        ([-1.0], [-0.4], 0.4),  # falls to its floor
        ([-1.0, -2.0], [-0.4, -0.6], 0.3),  # the first to fall
        ([-1.0], [-1.5], 1.0),  # falls further on than asked
        ([-1.0], [0.0], 0.0),  # has no room from the start
        ([-1.0], [0.1], -1.0),  # misses already, and falls
        ([1.0], [0.7], 1.0),  # misses at first, and rises
        ([2.0, 1.0, -1.0], [0.2, 0.6, -0.8], 0.8),  # both rise in time
        ([2.0, 1.0, -1.0], [0.2, 0.6, -0.5], -1.0),  # one rises too late
        ([1.0, -1.0], [0.5, -0.5], 0.5),  # just in time
        ([1.0], [1.5], -1.0),  # never rises enough
        ([1.0, -1.0], [-0.5, -0.2], 0.2),  # rises, but had room anyway
        ([0.0], [1e-9], 1.0),  # level, missed by the tolerance
        ([0.0], [nextafter(1e-9, 1.0)], -1.0),
        ([0.0, -1.0], [-0.3, -0.5], 0.5),  # level, with room
        ([-1e-12], [-0.5e-12], 1.0),  # a slope this small is none
        ([-1.5e-12], [-0.75e-12], 0.5),
        ([1e-12], [2e-12], 1.0),
        ([1.5e-12], [3e-12], -1.0),
    ],
)
def test_slowing_takes_the_largest_share_of_the_way_that_keeps_every_row(A: list[float], b: list[float], s: float) -> None:
    assert _slowing(np.array(A)[:, None], np.array(b), np.zeros(1), np.ones(1)) == s


def test_slowing_counts_what_a_row_has_where_the_way_begins() -> None:
    assert _slowing(np.array([[-2.0]]), np.array([-1.0]), np.array([0.25]), np.array([0.5])) == 0.5


def _slow(u: Array, wished: Array, braked: Array, rows: Rows) -> Answer | None:
    return WAYS.slow(u, wished, braked, rows, BEFORE)


def test_slowing_goes_from_braking_towards_the_wish_until_a_row_is_met() -> None:
    answer = _slow(X + 2 * Y + 7 * GRIP, X + 2 * Y, 0.2 * X + 0.4 * Y, _rows([[-1.0, 0.0, 0.0]], [-0.6]))
    assert answer is not None
    np.testing.assert_allclose(answer.u, [0.6, 1.2, 7.0], rtol=1e-12)
    assert (answer.decision, answer.solver, answer.slack) == (Decision.LIMIT, "slowed", 0.0)
    assert answer.violations == (*BEFORE, Violation(Reason.SLOWED, pytest.approx(0.4)))


def test_what_the_gripper_takes_of_a_row_is_not_left_to_the_arm() -> None:
    for grip, s in ((0.1, 0.5), (-0.1, 0.9)):
        answer = _slow(X + grip * GRIP, X, REST, _rows([[-1.0, 0.0, -2.0]], [-0.7]))
        assert answer is not None and answer.u[0] == pytest.approx(s) and answer.u[2] == grip


def test_an_arm_is_slowed_to_the_least_pace_and_no_further() -> None:
    answer = _slow(X, X, REST, _rows([[-1.0, 0.0, 0.0]], [-LEAST]))
    assert answer is not None and answer.u[0] == LEAST
    assert _slow(X, X, REST, _rows([[-1.0, 0.0, 0.0]], [nextafter(-LEAST, 0.0)])) is None


def test_where_nothing_of_the_way_is_left_the_arm_is_not_called_slowed() -> None:
    assert _slow(X, X, 0.9 * X, _rows([[-1.0, 0.0, 0.0]], [-0.9])) is None, "that is braking, whatever is left by it"
    assert _slow(X, X, 0.9 * X, _rows([[-1.0, 0.0, 0.0]], [-0.5])) is None


def test_slowing_may_leave_a_row_missed_by_the_tolerance_and_no_more() -> None:
    answer = _slow(X, X, REST, _rows([[0.0, 1.0, 0.0]], [qp.TOLERANCE]))
    assert answer is not None and answer.u[0] == 1.0
    assert _slow(X, X, REST, _rows([[0.0, 1.0, 0.0]], [nextafter(qp.TOLERANCE, 1.0)])) is None


def test_how_much_of_a_wish_is_left_is_measured_along_it_and_on_the_arm_alone() -> None:
    wished = 0.4 * X + 0.2 * Y + 9.0 * GRIP
    for u, left in ((0.25 * wished, 0.25), (0.25 * X, 0.5), (-wished, 0.0), (2.0 * wished, 1.0), (GRIP, 0.0)):
        assert WAYS.left(u, wished) == pytest.approx(left)


def test_of_a_wish_of_a_nanorad_a_second_or_less_nothing_can_be_lost() -> None:
    for length, left in ((0.0, 1.0), (1e-9, 1.0), (1.2e-9, 0.0)):
        assert WAYS.left(REST, length * X + GRIP) == left


def test_pushing_aside_counts_each_joint_by_its_own_speed() -> None:
    answer = WAYS.aside(REST + 5 * GRIP, REST, WIDE, _rows([[1.0, 1.0, 0.0]], [0.17]), BEFORE)
    np.testing.assert_allclose(answer.u, [0.17 / 17, 0.17 * 16 / 17, 5.0], rtol=1e-9)
    assert (answer.decision, answer.solver, answer.slack) == (Decision.LIMIT, "closed_form", 0.0)
    assert answer.violations == (*BEFORE, Violation(Reason.PROJECTED, pytest.approx(0.01 * 257**0.5)))


def test_pushing_aside_starts_from_the_wish_and_stays_inside_the_box() -> None:
    upper, lower = _box([9.0, 0.5, 9.0]), WIDE._replace(lower=np.array([-9.0, -0.1, -9.0]))
    for wish, box, row, end, pushed in (
        (0.3 * X + 0.1 * Y, upper, _rows([[1.0, 1.0, 0.0]], [1.0]), [0.5, 0.5, 0.0], 0.2**0.5),
        (0.9 * X + 0.3 * Y, lower, _rows([[-1.0, -1.0, 0.0]], [-0.3]), [0.4, -0.1, 0.0], 0.41**0.5),
    ):
        answer = WAYS.aside(wish, REST, box, row, ())
        np.testing.assert_allclose(answer.u, end, atol=1e-9)
        assert answer.solver == "daqp" and answer.violations[0].amount == pytest.approx(pushed)


def test_a_miss_costs_a_hundred_thousand_times_a_whole_range_of_speed() -> None:
    """One soft row a joint could meet but for a millionth: slack = b w / (w + 1e5) with w = 1 / qd_max^2 = 100."""
    answer = WAYS.aside(REST, REST, _box([0.05 - 1e-6, 9.0, 9.0]), _rows([[1.0, 0.0, 0.0]], [0.05], soft=True), BEFORE)
    slack = 0.05 * 100.0 / 100_100.0
    assert (answer.decision, answer.solver) == (Decision.HOLD, "relaxed")
    assert answer.slack == pytest.approx(slack, rel=1e-6) and answer.u[0] == pytest.approx(0.05 - slack, rel=1e-9)
    assert answer.violations == (*BEFORE, Violation(Reason.INFEASIBLE, answer.slack))


def test_evading_misses_hard_rows_only_where_they_contradict_each_other() -> None:
    A, b = [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], [0.3, 0.1]
    soft = _rows(A, b)._replace(soft=np.array([True, False]))
    answer = WAYS.aside(REST, REST, WIDE, soft, ())
    assert answer.decision is Decision.HOLD and answer.solver == "relaxed"
    assert answer.u[0] == pytest.approx(-0.1, abs=1e-9) and answer.slack == pytest.approx(0.4, abs=1e-9)
    answer = WAYS.aside(REST, REST, WIDE, _rows(A, b), ())
    assert answer.decision is Decision.HOLD and answer.solver == "relaxed"
    assert answer.u[0] == pytest.approx(0.1, abs=1e-3) and answer.slack == pytest.approx(0.2, abs=1e-3)


def test_evading_stays_inside_the_box_and_starts_from_braking() -> None:
    for sign in (1.0, -1.0):
        box = Box(np.array([-0.2, -9.0, -9.0]), np.array([0.1, 9.0, 9.0]), WIDE.stop_lower, WIDE.stop_upper)
        rows = _rows([[sign, 0.0, 0.0], [-sign, 0.0, 0.0]], [5.0, -9.0])
        for soft in (rows.soft, ~rows.soft):
            answer = WAYS.aside(REST, 0.07 * Y, box, rows._replace(soft=soft), ())
            np.testing.assert_allclose(answer.u, [0.1 if sign > 0 else -0.2, 0.07, 0.0], atol=1e-9)
            assert answer.slack == pytest.approx(4.9 if sign > 0 else 4.8, abs=1e-9)


def test_where_evading_misses_no_less_the_arm_brakes() -> None:
    for A, b in (([[0.0, 0.0, 1.0]], [0.3]), ([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], [0.2, 0.2])):
        answer = WAYS.aside(X, 0.0 * X, WIDE, _rows(A, b), BEFORE)
        assert (answer.decision, answer.solver) == (Decision.HOLD, "infeasible")
        np.testing.assert_array_equal(answer.u, REST)
        assert answer.slack == b[0] and answer.violations == (*BEFORE, Violation(Reason.INFEASIBLE, pytest.approx(b[0])))


def test_rows_that_are_no_numbers_make_the_arm_brake() -> None:
    rows = _rows([[np.nan, np.nan, np.nan]], [0.0])
    assert _slow(X, X, 0.9 * X, rows) is None
    answer = WAYS.aside(X, 0.9 * X, WIDE, rows, BEFORE)
    assert answer.decision is Decision.HOLD and answer.violations == (*BEFORE, Violation(Reason.SOLVER))
    np.testing.assert_array_equal(answer.u, 0.9 * X)
    assert (answer.solver, answer.slack) == ("failed", np.inf)


def test_an_answer_says_nothing_of_a_solver_that_was_not_asked() -> None:
    assert Answer(REST, Decision.PASS)[2:] == ((), "none", 0.0)
