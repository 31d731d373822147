import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.replay.ope.ranking import rank_correlation, regret, sharpe_ratio

TRUE = [1.0, 2.0, 3.0, 5.0]


def test_a_perfect_order_correlates_fully_and_its_reverse_not_at_all() -> None:
    right, wrong = rank_correlation([10, 20, 30, 40], TRUE), rank_correlation([4, 3, 2, 1], TRUE)
    assert (right.spearman, right.kendall, wrong.spearman, wrong.kendall) == pytest.approx((1, 1, -1, -1))


def test_equal_estimates_have_no_rank_correlation() -> None:
    assert np.isnan(rank_correlation([1, 1, 1, 1], TRUE).spearman)


def test_regret_is_the_share_that_the_best_of_the_top_k_falls_short() -> None:
    guess = [0.0, 9.0, 8.0, 1.0]
    assert [regret(guess, TRUE, k) for k in (1, 2, 3, 4)] == [0.75, 0.5, 0.0, 0.0]


def test_sharpe_ratio_is_the_gain_over_the_behaviour_policy_by_the_population_spread_of_the_top_k() -> None:
    assert sharpe_ratio([0.0, 9.0, 8.0, 1.0], TRUE, behaviour=0, k=2) == pytest.approx((3.0 - 1.0) / 0.5)
    assert sharpe_ratio([0.0, 0.0, 8.0, 9.0], TRUE, behaviour=2, k=2) == pytest.approx((5.0 - 3.0) / 1.0)


def test_a_top_k_without_spread_has_no_risk() -> None:
    assert sharpe_ratio([3, 2, 1], [4.0, 4.0, 1.0], behaviour=2, k=2) == np.inf
    assert sharpe_ratio([3, 2, 1], [4.0, 4.0, 1.0], behaviour=0, k=2) == 0.0


@pytest.mark.parametrize(("guess", "k"), [([1.0, 2.0], 1), ([1.0, 2.0, 3.0, np.nan], 1), (TRUE, 0), (TRUE, 5)])
def test_unequal_numbers_nan_and_a_k_out_of_range_are_refused(guess: list[float], k: int) -> None:
    with pytest.raises(ContractError, match="ranking: found"):
        regret(guess, TRUE, k)


def test_the_sharpe_ratio_of_one_policy_is_refused() -> None:
    with pytest.raises(ContractError, match="k >= 2"):
        sharpe_ratio(TRUE, TRUE, behaviour=0, k=1)
