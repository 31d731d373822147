"""The bounds hold in simulation, with the confidence they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from robot_stack.errors import DataError
from safety.conformal import certified_threshold, clopper_pearson_upper, samples_needed


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
