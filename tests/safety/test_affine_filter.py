"""The closed form of one barrier row and a ball, against what it must satisfy, and against a brute search."""

import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.types import Array
from safety.affine_filter import AffineFilter, project_rows


class Wall:
    """B = x: stay to the right of the origin."""

    def values_and_gradients(self, states: Array) -> tuple[Array, Array]:
        return states[:, 0], np.tile([1.0, 0.0], (len(states), 1))


class Wind:
    """x' = u + (-0.5, 0): it blows towards the wall."""

    def fields(self, states: Array) -> tuple[Array, Array]:
        return np.tile([-0.5, 0.0], (len(states), 1)), np.tile(np.eye(2), (len(states), 1, 1))


def rows(count: int, seed: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    return 1.5 * rng.normal(size=(count, 2)), rng.normal(size=(count, 2)), rng.normal(size=count)


def test_no_point_of_the_disc_that_keeps_the_row_is_nearer_than_the_answer() -> None:
    u_ref, a, b = rows(300, 0)
    answer = project_rows(u_ref, a, b, 1.0)
    angle, length = np.meshgrid(np.linspace(0, 2 * np.pi, 361), np.linspace(0, 1, 51))
    disc = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1).reshape(-1, 2)
    for i in range(300):
        allowed = disc[disc @ a[i] >= b[i]]
        if len(allowed):
            nearest = np.linalg.norm(allowed - u_ref[i], axis=1).min()
            assert answer.missed[i] == 0.0
            assert np.linalg.norm(answer.u[i] - u_ref[i]) <= nearest + 1e-9


def test_answers_are_in_the_ball_and_keep_the_row_or_say_by_how_much_they_miss_it() -> None:
    u_ref, a, b = rows(20_000, 1)
    answer = project_rows(u_ref, a, b, 1.0)
    assert np.linalg.norm(answer.u, axis=1).max() <= 1.0 + 1e-9
    kept = answer.missed == 0.0
    assert np.all((a * answer.u).sum(1)[kept] >= b[kept] - 1e-8)
    assert np.allclose(answer.missed[~kept], b[~kept] - np.linalg.norm(a[~kept], axis=1)), "the least miss is at the rim"
    assert 0.5 < kept.mean() < 1.0


def test_a_wish_that_is_fine_is_not_touched() -> None:
    u = np.array([[0.3, -0.4]])
    assert np.array_equal(project_rows(u, np.array([[1.0, 0.0]]), np.array([0.0]), 1.0).u, u)


def test_broken_numbers_never_come_out() -> None:
    bad = np.array([[np.nan, 0.0], [np.inf, 0.0], [0.1, 0.1], [0.1, 0.1]])
    a = np.array([[1.0, 0.0], [1.0, 0.0], [np.nan, 0.0], [0.0, 0.0]])
    answer = project_rows(bad, a, np.array([0.5, 0.5, 0.0, 0.2]), 1.0)
    assert np.isfinite(answer.u).all()
    assert np.allclose(answer.u[:2], [[0.5, 0.0]] * 2) and np.array_equal(answer.missed[:2], [0, 0])
    assert answer.missed[2] == np.inf and answer.missed[3] == pytest.approx(0.2)


def test_the_filter_approaches_the_level_no_faster_than_alpha_allows() -> None:
    check = AffineFilter(Wall(), Wind(), alpha=2.0, level=0.1)
    states, wish = np.array([[0.3, 0.0], [2.0, 0.0]]), np.array([[-1.0, 0.0], [-1.0, 0.0]])
    u = check.check(states, wish).u
    assert np.allclose(u[0, 0] - 0.5, -2.0 * (0.3 - 0.1)) and np.array_equal(u[1], wish[1])


def test_in_closed_loop_the_level_is_not_crossed() -> None:
    check, x = AffineFilter(Wall(), Wind(), alpha=5.0, level=0.1), np.array([[1.0, 0.0]])
    for _ in range(2000):
        u = check.check(x, np.array([[-1.0, 0.3]])).u
        x = x + 0.005 * (Wind().fields(x)[0] + u)
    assert x[0, 0] == pytest.approx(0.1, abs=1e-3)


def test_below_the_level_recovery_sets_the_pace_and_above_it_alpha_does() -> None:
    check = AffineFilter(Wall(), Wind(), alpha=1.0, level=0.1, recovery=4.0)
    states = np.array([[0.0, 0.0], [0.2, 0.0], [-5.0, 0.0]])
    answer = check.check(states, np.tile([-1.0, 0.0], (3, 1)))
    assert np.allclose(answer.u[:2, 0] - 0.5, [4.0 * 0.1, -1.0 * 0.1])
    assert np.allclose(answer.u[2], [1.0, 0.0]) and answer.missed[2] > 0, "too far for any action: as fast as it goes, and said"


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"recovery": -1.0}, {"radius": 0.0}, {"level": np.nan}, {"alpha": np.nan}])
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ContractError, match="alpha >= 0"):
        AffineFilter(Wall(), Wind(), **wrong)
