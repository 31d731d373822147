"""The QP against two independent solvers."""

import cvxpy as cp
import numpy as np
import pytest
import quadprog

from safety.qp import TOLERANCE, Solution, least_violation, missed, project


def _problem(rng: np.random.Generator, rows: int, spread: float) -> tuple[np.ndarray, ...]:
    n = 6
    A = rng.normal(size=(rows, n)) * rng.uniform(0.05, 1.0, size=(rows, 1))
    b = rng.normal(size=rows) * spread
    lower = -rng.uniform(0.01, 1.0, n)
    return rng.normal(size=n), rng.uniform(0.1, 4.0, n), A, b, lower, lower + rng.uniform(0.02, 2.0, n)


def _quadprog(u_ref, weight, A, b, lower, upper):
    G = np.vstack([A, np.eye(u_ref.size), -np.eye(u_ref.size)])
    try:
        return quadprog.solve_qp(np.diag(weight), weight * u_ref, G.T, np.concatenate([b, lower, -upper]))[0]
    except ValueError:
        return None


@pytest.mark.parametrize("spread", [0.05, 0.4])
def test_projection_agrees_with_quadprog_on_optimum_and_on_feasibility(spread: float) -> None:
    rng = np.random.default_rng(1)
    solved = 0
    for i in range(500):
        problem = _problem(rng, rows=1 + i % 12, spread=spread)
        found, reference = project(*problem), _quadprog(*problem)
        assert found.solved == (reference is not None)
        if reference is not None:
            solved += 1
            np.testing.assert_allclose(found.u, reference, atol=3e-4)  # the 1e-6 margin, seen through the conditioning
    assert 100 < solved < 500


@pytest.mark.parametrize("solver", ["CLARABEL", "OSQP"])
def test_projection_agrees_with_the_cvxpy_oracle(solver: str) -> None:
    rng = np.random.default_rng(2)
    for i in range(25):
        u_ref, weight, A, b, lower, upper = _problem(rng, rows=1 + i % 8, spread=0.3)
        u = cp.Variable(u_ref.size)
        oracle = cp.Problem(cp.Minimize(cp.sum(cp.multiply(weight, cp.square(u - u_ref)))), [A @ u >= b, u >= lower, u <= upper])
        options = {"eps_abs": 1e-8, "eps_rel": 1e-8, "max_iter": 100_000} if solver == "OSQP" else {}
        oracle.solve(solver=solver, **options)
        found = project(u_ref, weight, A, b, lower, upper)
        assert found.solved == (oracle.status == "optimal"), (found.status, oracle.status)
        if found.solved:
            np.testing.assert_allclose(found.u, u.value, atol=1e-4)


def test_what_is_returned_as_solved_keeps_every_row_and_bound() -> None:
    rng = np.random.default_rng(3)
    for i in range(500):
        u_ref, weight, A, b, lower, upper = _problem(rng, rows=1 + i % 20, spread=0.2)
        found = project(u_ref, weight, A, b, lower, upper)
        assert (found.u >= lower).all() and (found.u <= upper).all()
        if found.solved:
            assert (A @ found.u >= b - TOLERANCE).all()


def test_one_row_in_open_space_is_projected_in_closed_form() -> None:
    found = project(np.zeros(2), np.array([1.0, 4.0]), np.array([[1.0, 1.0]]), np.array([1.0]), -np.ones(2) * 9, np.ones(2) * 9)
    assert found.status == "closed_form"
    np.testing.assert_allclose(found.u, [0.8, 0.2])


def test_a_reference_that_is_fine_comes_back_bit_for_bit() -> None:
    u_ref = np.array([0.1, -0.3])
    found = project(u_ref, np.ones(2), np.eye(2), np.array([-1.0, -1.0]), -np.ones(2), np.ones(2))
    assert found.status == "none" and (found.u == u_ref).all()


@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-4])
def test_contradicting_rows_are_called_infeasible(gap: float) -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([gap, 0.0])
    assert project(np.zeros(2), np.ones(2), A, b, -np.ones(2) * 5, np.ones(2) * 5).status == "infeasible"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_fail_and_never_raise(bad: float) -> None:
    A = np.array([[1.0, bad]])
    assert project(np.zeros(2), np.ones(2), A, np.array([1.0]), -np.ones(2), np.ones(2)).status == "failed"
    assert not project(np.zeros(2), np.ones(2), np.ones((1, 2)), np.array([bad]), -np.ones(2), np.ones(2)).solved


def test_an_empty_row_that_asks_for_something_is_infeasible() -> None:
    assert not project(np.zeros(2), np.ones(2), np.zeros((1, 2)), np.array([0.1]), -np.ones(2), np.ones(2)).solved


def test_bounds_that_leave_one_point_are_no_obstacle_to_the_solver() -> None:
    point = np.array([0.2, -0.1])
    A = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = project(np.ones(2), np.ones(2), A, np.array([0.2, -0.1]), point, point)
    assert found.solved and (found.u == point).all()


def test_least_violation_reaches_the_smallest_possible_worst_miss() -> None:
    rng = np.random.default_rng(4)
    for _ in range(25):
        u_ref, weight, A, b, lower, upper = _problem(rng, rows=5, spread=2.0)
        u, t = cp.Variable(u_ref.size), cp.Variable()
        oracle = cp.Problem(cp.Minimize(t), [A @ u + t >= b, u >= lower, u <= upper, t >= 0])
        oracle.solve(solver="CLARABEL")
        found = least_violation(u_ref, weight, A, b, lower, upper)
        assert found.status == "relaxed"
        assert found.slack == missed(A, b, found.u)
        assert found.slack <= float(t.value) + 1e-3


def test_only_checked_statuses_count_as_solved() -> None:
    statuses = ("none", "closed_form", "daqp", "relaxed", "infeasible", "failed")
    assert [s for s in statuses if Solution(np.zeros(1), s, 0.0).solved] == ["none", "closed_form", "daqp"]
