"""How well estimated values choose among policies whose true values are known.

`regret`: what the best of the k policies that look best falls short of the best of all, as a share of best minus worst (0 to 1).
`sharpe_ratio`: SharpeRatio@k = (max J over the top k - J(pi_b)) / std of J over the top k (Kiyohara et al., ICLR 2024): the gain
over the behaviour policy in an online test of k policies, over the risk of that test. J true, order by estimate, population std;
pi_b is one of the candidates with its on-policy estimate. SCOPE-RL's code divides by the sample std instead, and clips at zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr

from robot_stack.errors import ContractError
from robot_stack.types import Array


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rho and Kendall's tau-b, -1 to 1; NaN when all estimates are the same."""

    spearman: float
    kendall: float


def rank_correlation(estimated: Sequence[float], true: Sequence[float]) -> RankCorrelation:
    """Of the order by estimate with the true one."""
    guess, truth = _pair(estimated, true, 2)
    if np.ptp(guess) == 0 or np.ptp(truth) == 0:
        return RankCorrelation(float("nan"), float("nan"))
    return RankCorrelation(float(spearmanr(guess, truth).statistic), float(kendalltau(guess, truth).statistic))


def regret(estimated: Sequence[float], true: Sequence[float], k: int) -> float:
    """Regret@k, 0 (the best is among the k) to 1 (only the worst are)."""
    guess, truth = _pair(estimated, true, k)
    spread = float(np.ptp(truth))
    return float(truth.max() - _top(guess, truth, k).max()) / spread if spread > 0 else 0.0


def sharpe_ratio(estimated: Sequence[float], true: Sequence[float], behaviour: int, k: int) -> float:
    """SharpeRatio@k; `behaviour` is the index of the behaviour policy among the candidates. k at least 2: one has no spread.

    Infinite when the k are equally good and better than the behaviour policy, 0 when they are as good as it.
    """
    guess, truth = _pair(estimated, true, k)
    if k < 2 or not 0 <= behaviour < len(truth):
        raise ContractError(f"SharpeRatio@k: found k {k}, behaviour {behaviour}; allowed k >= 2 and an index below {len(truth)}")
    top = _top(guess, truth, k)
    gain, risk = float(top.max() - truth[behaviour]), float(top.std())
    if risk == 0.0:
        return 0.0 if gain == 0.0 else float(np.copysign(np.inf, gain))
    return gain / risk


def _top(guess: Array, truth: Array, k: int) -> Array:
    """The true values of the k largest estimates; the first named of equals."""
    top: Array = truth[np.argsort(-guess, kind="stable")[:k]]
    return top


def _pair(estimated: Sequence[float], true: Sequence[float], k: int) -> tuple[Array, Array]:
    guess, truth = np.asarray(estimated, dtype=np.float64), np.asarray(true, dtype=np.float64)
    finite = np.isfinite(guess).all() and np.isfinite(truth).all()
    if guess.shape != truth.shape or guess.ndim != 1 or not finite or not 1 <= k <= len(guess):
        raise ContractError(
            f"ranking: found {guess.shape} estimates, {truth.shape} values, k {k}, finite: {bool(finite)}; "
            "allowed as many of each, all finite, 1 <= k <= their number"
        )
    return guess, truth
