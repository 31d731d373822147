"""The projection at its edges: tolerances, bounds met to the last bit, every way of having no answer. Quick: no other solver."""

import numpy as np
import pytest

from safety import qp
from safety.qp import TOLERANCE, least_violation, missed, project

ONE, WIDE = np.ones(2), np.full(2, 9.0)
ZERO = np.zeros(2)
RIGHT = np.array([[1.0, 0.0]])


def test_the_answer_is_kept_to_a_billionth() -> None:
    assert TOLERANCE == 1e-9 and qp.PRIMAL < TOLERANCE / 10


def test_missed_is_the_worst_row_and_never_negative() -> None:
    A, b = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 3.0, 2.0])
    assert missed(A, b, np.array([0.5, 0.0])) == 3.0
    assert missed(A, b, np.array([0.5, 3.0])) == 0.5
    assert missed(A, b, np.array([5.0, 5.0])) == 0.0
    assert missed(np.zeros((0, 2)), np.zeros(0), ZERO) == 0.0
    assert missed(A, np.array([np.nan, 0.0, 0.0]), ZERO) == np.inf


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_row_is_met_exactly_in_the_metric_of_the_weight(sign: float) -> None:
    found = project(ZERO, np.array([1.0, 2.0]), sign * np.array([[2.0, 4.0]]), np.array([6.0]), -WIDE, WIDE)
    assert found.status == "closed_form" and found.slack == 0.0
    np.testing.assert_allclose(found.u, sign * np.array([1.0, 1.0]), rtol=1e-12)
    other = project(np.array([0.5, -0.5]), ONE, np.array([[3.0, 4.0]]), np.array([4.5]), -WIDE, WIDE)
    assert other.status == "closed_form"
    np.testing.assert_allclose(other.u, [0.5 + 3 * 0.2, -0.5 + 4 * 0.2], rtol=1e-12)


@pytest.mark.parametrize("j", [0, 1])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_closed_form_may_touch_a_bound_but_not_pass_it(j: int, sign: float) -> None:
    A, b = sign * np.eye(2)[j : j + 1], np.array([0.5])
    bound = np.where(np.arange(2) == j, 0.5, 9.0)
    assert project(ZERO, ONE, A, b, -bound, bound).status == "closed_form"
    tight = np.where(np.arange(2) == j, np.nextafter(0.5, 0.0), 9.0)
    assert project(ZERO, ONE, A, b, -tight, tight).status == "daqp"  # met to the tolerance, by the solver
    narrow = np.where(np.arange(2) == j, 0.4, 9.0)
    assert project(ZERO, ONE, A, b, -narrow, narrow).status == "infeasible"


def test_where_the_closed_form_leaves_the_bounds_the_solver_goes_round() -> None:
    found = project(ZERO, ONE, np.array([[1.0, 1.0]]), np.array([1.0]), -np.array([0.2, 2.0]), np.array([0.2, 2.0]))
    assert found.status == "daqp" and found.slack == 0.0
    np.testing.assert_allclose(found.u, [0.2, 0.8], atol=1e-10)


def test_two_rows_meet_in_their_corner() -> None:
    A, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([0.5, 0.6])
    found = project(np.array([-1.0, -1.0]), np.array([1.0, 30.0]), A, b, -ONE, ONE)
    assert found.status == "daqp"
    np.testing.assert_allclose(found.u, [0.5, 0.3], atol=1e-10)


def test_the_wish_counts_by_its_weight_where_a_row_leaves_the_choice() -> None:
    A, b = np.array([[1.0, 1.0], [-1.0, 0.0]]), np.array([1.0, -9.0])
    found = project(np.array([0.2, 0.2]), np.array([1.0, 3.0]), A, b, -WIDE, WIDE)
    np.testing.assert_allclose(found.u, [0.2 + 0.45, 0.2 + 0.15], atol=1e-10)


def test_a_wish_beyond_the_bounds_is_taken_inside_them() -> None:
    found = project(np.array([5.0, -5.0]), ONE, RIGHT, np.array([-1.0]), -ONE, np.array([0.5, 1.0]))
    assert found.status == "none" and found.slack == 0.0
    np.testing.assert_array_equal(found.u, [0.5, -1.0])


@pytest.mark.parametrize("where", range(6))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_anywhere_is_no_answer(where: int, bad: float) -> None:
    problem = [ZERO, ONE, np.array([[1.0, 0.5], [0.2, 1.0]]), np.array([0.5, 0.5]), -ONE, ONE]
    if where in (1, 4, 5) and not np.isnan(bad):
        return  # a weight is a setting; a bound may be infinite
    spoiled = problem[where].copy()
    spoiled.flat[-1] = bad
    problem[where] = spoiled
    with np.errstate(invalid="ignore"):
        found = project(*problem)
    assert found.status == "failed" and found.slack == np.inf


def test_without_an_answer_the_wish_comes_back_inside_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qp.daqp, "solve", lambda *_, **__: (np.array([np.nan, 0.0, 0.0]), 0.0, 1, {}))
    A, b, u = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.5]), np.array([-3.0, 0.0])
    for found in (project(u, ONE, A, b, -ONE, ONE), least_violation(u, ONE, A, b, -ONE, ONE)):
        assert found.status == "failed" and found.slack == np.inf
        np.testing.assert_array_equal(found.u, [-1.0, 0.0])


def test_an_answer_beyond_the_bounds_is_brought_inside_before_it_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    A, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, -0.5])
    for answer, inside in (([7.0, 0.0, 0.0], [1.0, 0.0]), ([0.5, -7.0, 0.0], [0.5, -1.0])):
        monkeypatch.setattr(qp.daqp, "solve", lambda *_, x=answer, **__: (np.array(x[:2]), 0.0, 1, {}))
        found = project(ZERO, ONE, A, b, -ONE, ONE)
        np.testing.assert_array_equal(found.u, inside)
        assert found.status == ("daqp" if inside == [1.0, 0.0] else "infeasible")


def test_an_answer_may_miss_a_row_by_the_tolerance_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    A, answer = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.0, 0.5, 0.0])
    for miss, good in ((TOLERANCE, True), (np.nextafter(TOLERANCE, 1.0), False)):
        b = np.array([miss, 0.5])
        monkeypatch.setattr(qp.daqp, "solve", lambda *_, **__: (answer[:2], 0.0, 1, {}))
        assert project(ZERO, ONE, A, b, -ONE, ONE).solved is good
        monkeypatch.setattr(qp.daqp, "solve", lambda *_, **__: (answer, 0.0, 1, {}))
        soft = least_violation(ZERO, ONE, A, b, -ONE, ONE, soft=np.array([False, True]))
        assert soft.status == ("relaxed" if good else "failed")


def test_how_much_a_refused_answer_misses_is_said_in_the_units_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    A, b = np.array([[10.0, 0.0], [0.0, 1.0]]), np.array([5.0, 0.0])
    monkeypatch.setattr(qp.daqp, "solve", lambda *_, **__: (np.array([0.4, 0.0]), 0.0, -1, {}))
    found = project(ZERO, ONE, A, b, -ONE, ONE)
    assert found.status == "infeasible" and found.slack == pytest.approx(1.0)


def test_least_violation_shares_a_contradiction_between_its_rows() -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.3, 0.1])
    found = least_violation(np.array([0.0, 0.7]), ONE, A, b, -ONE, ONE)
    assert found.status == "relaxed" and found.slack == pytest.approx(0.2, abs=1e-4)
    np.testing.assert_allclose(found.u, [0.1, 0.7], atol=1e-4)


def test_least_violation_of_rows_that_can_all_be_kept_is_hardly_any() -> None:
    found = least_violation(ZERO, np.array([1.0, 4.0]), np.array([[1.0, 1.0]]), np.array([1.0]), -WIDE, WIDE)
    assert found.status == "relaxed" and found.slack == pytest.approx(0.8e-5, rel=1e-3)  # its multiplier over the price, 1e5
    np.testing.assert_allclose(found.u, [0.8, 0.2], atol=1e-4)
    fine = least_violation(np.array([0.9, -0.3]), ONE, RIGHT, np.array([0.5]), -ONE, ONE)
    np.testing.assert_allclose(fine.u, [0.9, -0.3], atol=1e-9)
    assert fine.slack == 0.0


def test_least_violation_stays_inside_the_bounds() -> None:
    for sign in (1.0, -1.0):
        found = least_violation(ZERO, ONE, sign * RIGHT, np.array([5.0]), -ONE, 0.5 * ONE)
        assert found.u[0] == (0.5 if sign > 0 else -1.0)
        assert found.slack == pytest.approx(4.5 if sign > 0 else 4.0, abs=1e-9)


def test_only_soft_rows_give_way() -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.3, 0.1])
    for hard in (0, 1):
        found = least_violation(ZERO, ONE, A, b, -ONE, ONE, soft=np.arange(2) != hard)
        assert found.status == "relaxed"
        np.testing.assert_allclose(found.u, [0.3 if hard == 0 else -0.1, 0.0], atol=1e-9)
        assert found.slack == pytest.approx(0.4, abs=1e-8)
    assert least_violation(ZERO, ONE, A, b, -ONE, ONE, soft=np.zeros(2, bool)).status == "failed"
