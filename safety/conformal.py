"""Exact finite-sample thresholds. No asymptotics: the bound holds for any distribution of exchangeable scores.

`certified_threshold` is conformal calibration "with confidence 1 - beta over the calibration set" (Vovk 2012), from the
Clopper-Pearson upper bound of a binomial rate (1934); at an order statistic that is the tolerance limit of Wilks (1941).
`certified_level` does the same for a closed loop, where every level is a different controller and has to be tried by itself.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from robot_stack.errors import DataError
from robot_stack.types import Array


def clopper_pearson_upper(k: int, n: int, confidence: float) -> float:
    """Upper bound of a rate after k of n: the p with P(Binomial(n, p) <= k) = 1 - confidence. Exact, by bisection."""
    if not 0 <= k <= n:
        raise DataError(f"clopper_pearson_upper: found k={k} of n={n}, allowed 0 <= k <= n")
    if k == n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if binomial_cdf(k, n, middle) > 1 - confidence else (low, middle)
    return high


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Binomial(n, p) <= k), summed in logarithms."""
    if p <= 0.0 or p >= 1.0:
        return 1.0 if p <= 0.0 else float(k >= n)
    i = np.arange(k + 1)
    log_choose = np.array([math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in range(k + 1)])
    return float(min(1.0, np.exp(log_choose + i * math.log(p) + (n - i) * math.log1p(-p)).sum()))


def certified_threshold(failures: Array, alpha: float, confidence: float) -> tuple[float, float]:
    """The highest threshold t such that ``score > t`` misses failures at a rate <= alpha with `confidence`, and the bound of t.

    `failures` (n,): scores of held-out failing samples (independent: one per trajectory, or the bound is about samples of such
    trajectories). A miss is a failing sample with score <= t. -inf (always alarm), bound 0, when n is too small for any t.
    """
    ordered = np.sort(_finite(failures))
    n, allowed = len(ordered), -1
    while allowed + 1 < n and binomial_cdf(allowed + 1, n, alpha) <= 1 - confidence:
        allowed += 1
    if allowed < 0:
        return -math.inf, 0.0
    threshold = float(np.nextafter(ordered[allowed], -np.inf))
    return threshold, clopper_pearson_upper(int(np.sum(ordered <= threshold)), n, confidence)


def certified_level(
    levels: Sequence[float], trials: Callable[[float], tuple[int, int]], epsilon: float, confidence: float
) -> tuple[float, float]:
    """The lowest of `levels` at which what is certified fails at a rate <= epsilon with `confidence`, and the bound there.

    `trials(level)`: (failures k, trials n) of fresh rollouts from states with B >= level, run with that level. Levels are tested
    from the highest down until one fails its test (fixed sequence: Angelopoulos et al. 2021, arXiv 2110.01052), so the
    confidence is that of the whole search, however many levels there are. (inf, 0.0), nothing is certified, when the first fails.
    """
    best = (math.inf, 0.0)
    for level in sorted(levels, reverse=True):
        failures, count = trials(level)
        bound = clopper_pearson_upper(failures, count, confidence) if count else 1.0
        if bound > epsilon:
            break
        best = (level, bound)
    return best


def familiar_level(runs: Sequence[Array], length: int, alpha: float) -> float:
    """The highest level that `length` counts in a row of a new run stay below with probability <= alpha (split conformal: Vovk).

    `runs`: the counts (n,) of each held-out run, in order; a new one is exchangeable with them. A run alarms iff its score, the
    least over windows of `length` of the largest count in the window, is below the level: the floor(alpha (n + 1))-th smallest
    score. Raises DataError when n runs are too few for alpha, or one is shorter than `length`.
    """
    rank, needed = math.floor(alpha * (len(runs) + 1) + 1e-9), math.ceil(1 / alpha - 1e-9) - 1
    shortest = min((len(run) for run in runs), default=0)
    if rank < 1 or shortest < length:
        raise DataError(
            f"familiar_level: found {len(runs)} runs, the shortest of {shortest} counts; allowed {needed} or more of {length} or "
            f"more for alpha {alpha:g}; record more episodes of the policy"
        )
    return float(np.sort([_least_window(_finite(run), length) for run in runs])[rank - 1])


def _least_window(counts: Array, length: int) -> float:
    return float(np.lib.stride_tricks.sliding_window_view(counts, length).max(axis=1).min())


def samples_needed(alpha: float, confidence: float) -> int:
    """How many failing samples the first certified threshold takes: smallest n with (1 - alpha)^n <= 1 - confidence."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - alpha))


def _finite(scores: Array) -> Array:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise DataError(f"conformal: found shape {scores.shape}, finite: {np.isfinite(scores).all()}; allowed finite (n,)")
    return scores
