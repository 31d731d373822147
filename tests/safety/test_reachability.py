"""The backward reachable tube: against closed forms, against forward simulation, and refusing what is no problem at all.

The solver is an optional extra; what needs only numpy runs always.
"""

from collections.abc import Callable

import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.types import Array
from safety.reachability import StateGrid, agreement, backward_tube, simulated_tube, volume


def solver() -> None:
    pytest.importorskip("hj_reachability", reason="needs the extra: pip install 'robot_stack[reachability]'")


def taxi(x: Array) -> Array:
    """The ideal taxi: px' = 5 sin th, th' = tan(-0.74 px - 0.44 th in degrees)."""
    return np.stack([5.0 * np.sin(x[:, 1]), np.tan(-np.radians(0.74) * x[:, 0] - 0.44 * x[:, 1])], axis=1)


def on_runway(x: Array) -> Array:
    return np.asarray(10.0 - np.abs(x[:, 0]))


def taxi_grid(n: int) -> StateGrid:
    return StateGrid((-11.0, -np.radians(32)), (11.0, np.radians(32)), (n, n))


def wall(x: Array) -> Array:
    return -x[:, 0]


def braking(x: Array) -> Array:
    """Position and speed under a constant brake of 2 that never turns back."""
    return np.stack([x[:, 1], np.where(x[:, 1] > 0.0, -2.0, 0.0)], axis=1)


def test_the_simulated_tube_of_a_brake_is_the_stopping_distance() -> None:
    states = np.random.default_rng(0).uniform([-4.0, 0.0], [0.0, 3.0], (500, 2))
    value = simulated_tube(states, braking, wall, horizon_s=2.0, dt=0.001)
    np.testing.assert_allclose(value, -(states[:, 0] + states[:, 1] ** 2 / 4.0), atol=5e-3)


def test_the_ideal_taxis_tube_by_simulation_is_fifteen_percent() -> None:
    grid = taxi_grid(101)
    assert 100 * volume(simulated_tube(grid.nodes, taxi, on_runway, 8.0, 0.05)) == pytest.approx(15.0, abs=0.1)


def test_interpolation_is_exact_for_what_is_multilinear_and_holds_the_edge_outside() -> None:
    grid = StateGrid((-1.0, 0.0, 2.0), (1.0, 2.0, 5.0), (5, 4, 7))

    def f(x: Array) -> Array:
        return np.stack([x[:, 0] * x[:, 1] * x[:, 2], x[:, 0] - 2.0 * x[:, 1]], axis=1)

    x = np.random.default_rng(0).uniform(grid.lower, grid.upper, (50, 3))
    np.testing.assert_allclose(grid.interpolate(f(grid.nodes), x), f(x))
    outside = np.array([[3.0, 1.0, 9.0]])
    np.testing.assert_allclose(grid.interpolate(f(grid.nodes), outside), f(np.array([[1.0, 1.0, 5.0]])))


def test_agreement_counts_the_true_tube_that_is_called_safe() -> None:
    found = agreement(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([-1.0, 1.0, -1.0, 1.0]))
    assert (found.iou, found.false_safe, found.differing) == (1 / 3, 0.5, 0.5)


def test_the_solver_finds_the_ideal_taxis_tube_and_agrees_with_simulation() -> None:
    solver()
    grid = taxi_grid(101)
    value = backward_tube(grid, taxi(grid.nodes), on_runway(grid.nodes), 8.0)
    assert 100 * volume(value) == pytest.approx(15.02, abs=0.01)
    truth = simulated_tube(grid.nodes, taxi, on_runway, 8.0, 0.05)
    found = agreement(value, truth)
    assert found.iou > 0.99 and found.false_safe < 0.005
    assert np.abs(value - truth).max() < 0.06


def test_paths_that_leave_the_grid_fast_and_for_long_do_not_make_the_tube_diverge() -> None:
    solver()
    grid = taxi_grid(101)
    spinning = np.stack([5.0 * np.sin(grid.nodes[:, 1]), 0.6 * np.sign(grid.nodes[:, 1])], axis=1)
    value = backward_tube(grid, spinning, on_runway(grid.nodes), 60.0)
    assert volume(value) > 0.95 and value.min() >= -10.0 - 1e-6


def test_the_solver_finds_the_stopping_distance_of_a_brake() -> None:
    solver()
    grid = StateGrid((-6.0, -0.5), (2.0, 3.0), (101, 101))
    value = backward_tube(grid, braking(grid.nodes), wall(grid.nodes), 3.0)
    speed = np.maximum(grid.nodes[:, 1], 0.0)
    moving = (grid.nodes[:, 1] >= 0.0) & (np.abs(grid.nodes[:, 0]) < 5.0)
    error = value - -(grid.nodes[:, 0] + speed**2 / 4.0)
    assert np.abs(error[moving]).max() < 0.06


def test_four_dimensions_of_two_brakes_are_the_worse_of_the_two() -> None:
    solver()
    grid = StateGrid((-3.0, 0.0) * 2, (1.0, 2.0) * 2, (17, 9) * 2)
    drift = np.concatenate([braking(grid.nodes[:, :2]), braking(grid.nodes[:, 2:])], axis=1)
    value = backward_tube(grid, drift, -np.maximum(grid.nodes[:, 0], grid.nodes[:, 2]), 2.0)
    exact = -np.maximum(*(grid.nodes[:, i] + grid.nodes[:, i + 1] ** 2 / 4.0 for i in (0, 2)))
    assert agreement(value, exact).iou > 0.9 and np.abs(value - exact).mean() < 0.1


def test_an_adversary_on_the_drift_shrinks_the_safe_set_to_the_closed_form() -> None:
    solver()
    grid = StateGrid((-4.0, -1.0), (1.0, 1.0), (101, 101))
    still, push = np.zeros_like(grid.nodes), np.tile([0.5, 0.0], (len(grid.nodes), 1))
    value = backward_tube(grid, still, wall(grid.nodes), 2.0, push)
    inner = np.abs(grid.nodes[:, 0] + 1.5) < 1.5
    np.testing.assert_allclose(value[inner], -(grid.nodes[inner, 0] + 1.0), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: StateGrid((0.0,) * 5, (1.0,) * 5, (4,) * 5), r"found 5, 5, 5 dimensions; allowed the same number, 1\.\.4"),
        (lambda: StateGrid((0.0,), (0.0,), (4,)), "allowed lower < upper"),
        (lambda: StateGrid((0.0,), (1.0,), (3,)), "at least 4 nodes"),
        (lambda: backward_tube(StateGrid((0.0,), (1.0,), (4,)), np.zeros((3, 1)), np.zeros(4), 1.0), r"drift of shape \(3, 1\)"),
        (lambda: backward_tube(StateGrid((0.0,), (1.0,), (4,)), np.zeros((4, 1)), np.full(4, np.nan), 1.0), "finite: False"),
    ],
)
def test_what_is_no_problem_is_refused_before_anything_is_solved(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        make()
