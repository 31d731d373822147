"""Certificates by noise against policies whose worst case is known: a slope, a step, and one that jumps all the time."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.types import Array
from safety.certify import certified_probability, certify_median, mean_lipschitz, order_statistic
from safety.conformal import binomial_cdf

NORMAL = NormalDist()


def samples(f: Callable[[Array], Array], at: float, n: int, seed: int = 0) -> Array:
    return f(at + np.random.default_rng(seed).standard_normal(n))[:, None]


def test_the_certificate_of_a_straight_line_is_its_slope_and_little_more() -> None:
    found = certify_median(samples(lambda x: 3.0 * x, 2.0, 20_000), radius=0.5)
    assert 1.5 <= found.change[0] <= 1.7
    assert found.low[0] <= 6.0 - 1.5 and found.high[0] >= 6.0 + 1.5


def test_a_certificate_contains_the_median_at_every_point_of_the_ball() -> None:
    def policy(x: Array) -> Array:
        return np.where(x > 0.3, 1.0, -1.0) + 0.2 * np.sin(7.0 * x)

    found = certify_median(samples(policy, 0.0, 2000), radius=0.5)
    medians = [np.median(samples(policy, d, 20_000, seed=1)) for d in np.linspace(-0.5, 0.5, 21)]
    assert found.low[0] <= min(medians) and max(medians) <= found.high[0]
    assert max(abs(m - medians[10]) for m in medians) <= found.change[0]
    assert max(medians) - min(medians) > 1.0, "the ball holds the jump"


def test_the_certificate_fails_no_more_often_than_it_says() -> None:
    wrong = 0
    for seed in range(400):
        found = certify_median(samples(lambda x: x, 0.0, 60, seed), radius=0.5, confidence=0.8)
        wrong += not (found.low[0] <= -0.5 and found.high[0] >= 0.5)
    assert wrong <= 0.2 * 400


def test_all_coordinates_hold_at_once_so_more_of_them_cost_width() -> None:
    one = certify_median(samples(lambda x: x, 0.0, 500), radius=0.5)
    many = certify_median(np.tile(samples(lambda x: x, 0.0, 500), 100), radius=0.5)
    assert many.change[0] > one.change[0]


def test_a_larger_radius_never_certifies_less_change() -> None:
    drawn = samples(lambda x: x + np.sin(3.0 * x), 1.0, 400)
    changes = [certify_median(drawn, radius).change[0] for radius in (0.0, 0.25, 0.5, 1.0)]
    assert changes == sorted(changes) and math.isfinite(changes[-1])


def test_too_few_samples_certify_nothing() -> None:
    assert certify_median(samples(lambda x: x, 0.0, 10), radius=1.0).change[0] == math.inf


@pytest.mark.parametrize(("n", "p", "alpha"), [(200, 0.84, 1e-4), (60, 0.5, 0.01), (1000, 0.99, 0.001)])
def test_the_order_statistic_is_the_first_that_is_sure_enough(n: int, p: float, alpha: float) -> None:
    k = order_statistic(n, p, alpha)
    assert k is not None and 1.0 - binomial_cdf(k - 1, n, p) <= alpha < 1.0 - binomial_cdf(k - 2, n, p)


def test_an_event_keeps_at_least_the_certified_probability() -> None:
    rng = np.random.default_rng(0)
    k = int((rng.standard_normal(5000) < 2.0).sum())
    floor = certified_probability(k, 5000, radius=1.0)
    assert floor <= NORMAL.cdf(1.0) and floor > NORMAL.cdf(1.0) - 0.05
    assert certified_probability(0, 100, 0.5) == 0.0
    assert certified_probability(100, 100, 0.0) == pytest.approx(0.05 ** (1 / 100), abs=1e-6)


def test_the_bound_of_the_mean_is_reached_by_a_step() -> None:
    slope = (NORMAL.cdf(0.01) - NORMAL.cdf(-0.01)) / 0.02
    assert slope <= mean_lipschitz(np.array([1.0]))[0] == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(
    ("drawn", "radius", "confidence"),
    [
        (np.zeros((0, 1)), 0.5, 0.95),
        (np.full((3, 1), np.nan), 0.5, 0.95),
        (np.zeros(3), 0.5, 0.95),
        (np.zeros((3, 1)), -1.0, 0.95),
        (np.zeros((3, 1)), float("nan"), 0.95),
        (np.zeros((3, 1)), 0.5, 1.0),
    ],
)
def test_what_can_not_be_certified_is_refused(drawn: Array, radius: float, confidence: float) -> None:
    with pytest.raises(ContractError, match="certify_median"):
        certify_median(drawn, radius, confidence)
