"""The bounds hold in simulation, with the confidence they promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from robot_stack.errors import DataError
from safety.conformal import certified_level, certified_threshold, clopper_pearson_upper, familiar_level, samples_needed


@given(st.integers(1, 300), st.data(), st.floats(0.5, 0.999))
def test_clopper_pearson_is_the_beta_quantile(n: int, data: st.DataObject, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    exact = 1.0 if k == n else float(beta.ppf(confidence, k + 1, n - k))
    assert clopper_pearson_upper(k, n, confidence) == pytest.approx(exact, abs=1e-9)


def test_clopper_pearson_covers_the_true_rate_with_its_confidence() -> None:
    rng = np.random.default_rng(1)
    for rate in (0.01, 0.05, 0.3):
        covered = [clopper_pearson_upper(int(k), 150, 0.9) >= rate for k in rng.binomial(150, rate, 600)]
        assert np.mean(covered) >= 0.9 - 0.03


def test_certified_threshold_keeps_the_missed_rate_with_its_confidence() -> None:
    rng, alpha, confidence = np.random.default_rng(2), 0.1, 0.9
    missed = np.array([certified_threshold(rng.random(150), alpha, confidence)[0] for _ in range(3000)])
    assert np.mean(missed <= alpha) >= confidence - 0.02
    assert np.median(missed) > alpha / 3


def test_the_bound_returned_is_not_above_what_was_asked() -> None:
    threshold, bound = certified_threshold(np.linspace(0, 1, 400), 0.05, 0.95)
    assert 0 < threshold < 0.05 and bound <= 0.05


def test_equal_scores_are_all_caught_or_all_missed() -> None:
    threshold, bound = certified_threshold(np.full(100, 0.5), 0.05, 0.95)
    assert threshold < 0.5 and bound <= 0.05


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_one_sample_fewer_than_needed_always_alarms(alpha: float) -> None:
    n = samples_needed(alpha, 0.95)
    assert certified_threshold(np.ones(n - 1), alpha, 0.95) == (-math.inf, 0.0)
    assert math.isfinite(certified_threshold(np.ones(n), alpha, 0.95)[0])


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        certified_threshold(np.array([0.1, math.nan]), 0.05, 0.95)


def bernoulli(rate: Callable[[float], float], n: int, rng: np.random.Generator) -> Callable[[float], tuple[int, int]]:
    return lambda level: (int(rng.binomial(n, rate(level))), n)


def test_a_certified_level_fails_more_often_than_promised_no_more_often_than_stated() -> None:
    rng, levels, epsilon = np.random.default_rng(4), np.linspace(0, 1, 21), 0.05
    found = np.array([certified_level(levels, bernoulli(lambda x: 0.2 * (1 - x), 400, rng), epsilon, 0.9)[0] for _ in range(400)])
    assert np.mean(0.2 * (1 - found) > epsilon) <= 0.1 + 0.04
    assert np.median(found) < 0.95, "and it is of some use"


def test_the_search_for_a_level_stops_at_the_first_that_fails_its_test() -> None:
    tried: list[float] = []

    def trials(level: float) -> tuple[int, int]:
        tried.append(level)
        return (0 if level != 0.5 else 300), 1000

    assert certified_level([0.0, 0.5, 1.0, 0.75], trials, 0.05, 0.95)[0] == 0.75
    assert tried == [1.0, 0.75, 0.5]


def test_no_level_is_certified_by_too_few_trials_or_by_none() -> None:
    assert certified_level([0.0], lambda _: (0, 0), 0.05, 0.95) == (math.inf, 0.0)
    assert certified_level([0.0], lambda _: (0, 10), 0.05, 0.95) == (math.inf, 0.0)


def test_a_new_run_falls_below_the_familiar_level_as_rarely_as_promised() -> None:
    rng, alpha = np.random.default_rng(4), 0.1
    below = []
    for _ in range(2000):
        *known, new = rng.random((20, 8))
        level = familiar_level(known, 2, alpha)
        below.append(any(new[i] < level and new[i + 1] < level for i in range(7)))
    assert alpha / 2 - 0.02 < np.mean(below) <= alpha + 0.02


@pytest.mark.parametrize("runs", [[np.ones(5)] * 48, [np.ones(5)] * 48 + [np.ones(2)], []])
def test_too_few_or_too_short_runs_give_no_familiar_level(runs: list[np.ndarray]) -> None:
    with pytest.raises(DataError, match="allowed 49 or more of 3 or more"):
        familiar_level(runs, 3, 0.02)
    assert familiar_level([np.ones(3)] * 49, 3, 0.02) == 1.0
