"""The QP against two independent solvers."""

import cvxpy as cp
import numpy as np
import pytest
import quadprog

from benchmarks.bench_qp import judged, kkt_residual
from benchmarks.qp_problems import KINDS, problems
from safety import qp
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
            np.testing.assert_allclose(found.u, reference, atol=1e-9)
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


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_problem_is_solved_exactly_when_it_can_be(kind: str) -> None:
    for problem in (p for p in problems(400, seed=5) if p.kind == kind):
        found = project(*problem.arguments)
        assert found.solved == (problem.inside is not None)
        if problem.inside is not None:
            assert (problem.A @ found.u >= problem.b - TOLERANCE).all()
            better = problem.inside - found.u  # no way into the set goes downhill: (x - u) W (u - u_ref) >= 0
            assert better @ (problem.weight * (found.u - problem.u_ref)) >= -1e-7 * problem.weight.max()


def test_the_figure_of_the_qp_counts_no_wrong_status() -> None:
    made = list(problems(200, seed=8))
    tally = judged(made, [project(*p.arguments) for p in made], checked=3)
    assert tally["wrong_status"] == 0 and tally["feasible"] == 160 and tally["without_oracle"] == 0
    assert tally["kkt_residual"] < 1e-9 and tally["worst_violation"] < TOLERANCE


def test_the_figure_of_the_qp_counts_what_is_wrong() -> None:
    made = [p for p in problems(40, seed=8) if p.kind == "plain"]
    right = [project(*p.arguments) for p in made]
    far = [Solution(p.inside, "daqp", 0.0) for p in made]
    assert judged(made, far, checked=0)["wrong"] == {"far_from_oracle": len(made)}
    assert judged(made, [s._replace(u=s.u + 9.0) for s in right], checked=0)["wrong"]["violated"] == len(made)
    assert judged(made, [s._replace(status="infeasible") for s in right], checked=0)["wrong_status"] == len(made)
    assert min(kkt_residual(p, p.inside) for p in made) > 1e-3


def test_the_length_of_a_row_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    for problem in problems(200, seed=7):
        scale = 10.0 ** rng.uniform(-8, 8, problem.b.size)
        scaled = project(problem.u_ref, problem.weight, problem.A * scale[:, None], problem.b * scale, *problem[4:6])
        plain = project(*problem.arguments)
        assert scaled.solved == plain.solved
        if plain.status == scaled.status == "daqp":
            np.testing.assert_allclose(scaled.u, plain.u, atol=1e-7)


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


@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-4, 1e-6, 1e-8])
def test_contradicting_rows_are_called_infeasible(gap: float) -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([gap, 0.0])
    assert project(np.zeros(2), np.ones(2), A, b, -np.ones(2) * 5, np.ones(2) * 5).status == "infeasible"


def test_rows_that_leave_a_single_value_are_no_contradiction() -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]), np.array([0.3, -0.3, 0.0])
    found = project(np.zeros(2), np.ones(2), A, b, -np.ones(2), np.ones(2))
    assert found.status == "daqp"
    np.testing.assert_allclose(found.u, [0.3, 0.0], atol=1e-9)


def test_a_row_is_kept_to_the_tolerance_and_no_further() -> None:
    A, u, wide = np.array([[1.0, 0.0]]), np.zeros(2), np.ones(2)
    assert project(u, wide, A, np.array([TOLERANCE]), -wide, wide).status == "none"
    assert project(u, wide, A, np.array([np.nextafter(TOLERANCE, 1.0)]), -wide, wide).status == "closed_form"


def test_a_solver_that_gives_up_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = next(p for p in problems(50, size=(7, 32)) if p.kind == "vertex")
    assert project(*problem.arguments).status == "daqp"
    monkeypatch.setattr(qp, "ITERATIONS", 2)
    found = project(*problem.arguments)
    assert found.status == "failed" and found.slack > 0.0
    assert least_violation(*problem.arguments).status == "failed"


@pytest.mark.parametrize("lie", [1e-3, np.nan, np.inf])
def test_no_status_of_the_solver_is_taken_on_trust(monkeypatch: pytest.MonkeyPatch, lie: float) -> None:
    wrong = np.array([lie, 0.0])
    monkeypatch.setattr(qp.daqp, "solve", lambda *_, **__: (wrong, 0.0, 1, {}))
    A, b, bound = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.0]), np.ones(2)
    found = project(np.zeros(2), bound, A, b, -bound, bound)
    assert not found.solved and (np.abs(found.u) <= 1.0).all()
    assert found.status == ("infeasible" if np.isfinite(lie) else "failed")


@pytest.mark.parametrize("flag", [-6, -5, -4, -3, -2, 0, 2])
def test_only_the_flag_of_success_is_believed(monkeypatch: pytest.MonkeyPatch, flag: int) -> None:
    right = np.array([0.5, 0.0])
    monkeypatch.setattr(qp.daqp, "solve", lambda *_, **__: (right, 0.0, flag, {}))
    A, b, bound = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.0]), np.ones(2)
    assert project(np.zeros(2), bound, A, b, -bound, bound).status == "failed"
    assert least_violation(np.zeros(2), bound, A, b, -bound, bound).status == "failed"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_fail_and_never_raise(bad: float) -> None:
    A = np.array([[1.0, bad]])
    assert project(np.zeros(2), np.ones(2), A, np.array([1.0]), -np.ones(2), np.ones(2)).status == "failed"
    assert not project(np.zeros(2), np.ones(2), np.ones((1, 2)), np.array([bad]), -np.ones(2), np.ones(2)).solved
    assert not project(np.array([0.0, bad]), np.ones(2), np.ones((1, 2)), np.array([0.1]), -np.ones(2), np.ones(2)).solved
    assert not project(np.zeros(2), np.ones(2), np.zeros((0, 2)), np.zeros(0), np.array([np.nan, 0.0]), np.ones(2)).solved


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
