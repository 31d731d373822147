"""What Gaussian noise on the observation certifies about a policy, whatever the policy is: an arg-max inside is fine.

f maps an observation o to an action; G ~ N(0, I) in whitened units (each input divided by its sigma). For every ||d|| <= r:

* Median smoothing (Chiang et al. 2020, arXiv 2007.03730): h(o) = median of f(o + G), one action coordinate at a time. With
  q_p the p-quantile of f(o + G),  q_{Phi(-r)} <= h(o + d) <= q_{Phi(r)}.  Both quantiles are bounded by order statistics of n
  samples, exactly (Clopper-Pearson, Wilks), so the answer is a certificate at a stated confidence.
* Policy smoothing (arXiv 2106.11420): an event of probability p under noise keeps at least Phi(Phi^-1(p) - r) under attack.
* The mean of f clipped to [a, b] has the Lipschitz constant (b - a) / sqrt(2 pi) everywhere (Salman et al. 2019): the worst case
  is a step. Global, and loose.

The certificates are about h and about f in noise. About f itself, without noise, they say nothing: an arg-max over candidates
jumps, so f has no Lipschitz constant at all.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.types import Array
from safety.conformal import binomial_cdf, clopper_pearson_upper

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, eq=False)
class MedianCertificate:
    """Of each coordinate (C,): the sampled `median`; `low` <= h(o + d) <= `high` and |h(o + d) - h(o)| <= `change` for every
    ||d|| <= `radius`, all coordinates at once with the stated confidence. Infinite where the samples were too few."""

    radius: float
    median: Array
    low: Array
    high: Array
    change: Array


def certify_median(samples: Array, radius: float, confidence: float = 0.95) -> MedianCertificate:
    """The certificate of `samples` (n, C) of f(o + G), independent draws of G. Raises ContractError on what is not finite."""
    n, coordinates = _checked(samples, radius, confidence)
    alpha = (1.0 - confidence) / (4.0 * coordinates)  # two quantiles and two bounds of the median itself, every coordinate
    ordered = np.sort(samples, axis=0)
    low, high = _enclosed(ordered, NORMAL.cdf(radius), alpha)
    least, most = _enclosed(ordered, 0.5, alpha)
    change = np.maximum(high - least, most - low)
    return MedianCertificate(radius, np.median(samples, axis=0), low, high, change)


def order_statistic(n: int, p: float, alpha: float) -> int | None:
    """The smallest k such that the k-th smallest of n samples lies below the p-quantile with probability at most `alpha`.

    None: not even the largest does.
    """
    if n == 0 or 1.0 - binomial_cdf(n - 1, n, p) > alpha:
        return None
    low, high = 1, n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if 1.0 - binomial_cdf(middle - 1, n, p) <= alpha else (middle + 1, high)
    return low


def certified_probability(k: int, n: int, radius: float, confidence: float = 0.95) -> float:
    """What is left, under any attack of at most `radius`, of the probability of an event seen in k of n independent draws."""
    lower = 1.0 - clopper_pearson_upper(n - k, n, confidence)
    if lower <= 0.0:
        return 0.0
    return NORMAL.cdf(NORMAL.inv_cdf(lower) - radius) if lower < 1.0 else 1.0


def mean_lipschitz(span: Array) -> Array:
    """Lipschitz constant of the noisy mean of an action clipped to an interval of length `span`, per whitened unit."""
    return np.asarray(span / math.sqrt(2.0 * math.pi))


def _enclosed(ordered: Array, p: float, alpha: float) -> tuple[Array, Array]:
    """Bounds from below of the (1 - p)-quantile and from above of the p-quantile, each wrong with probability `alpha`."""
    n = len(ordered)
    k = order_statistic(n, p, alpha)
    if k is None:
        return np.full(ordered.shape[1], -np.inf), np.full(ordered.shape[1], np.inf)
    return ordered[n - k], ordered[k - 1]


def _checked(samples: Array, radius: float, confidence: float) -> tuple[int, int]:
    if samples.ndim != 2 or samples.size == 0 or not np.isfinite(samples).all():
        raise ContractError(f"certify_median: found samples {samples.shape}, allowed finite (n, C) with at least one of each")
    if not 0.0 <= radius < math.inf or not 0.0 < confidence < 1.0:
        raise ContractError(
            f"certify_median: found radius {radius}, confidence {confidence}; allowed radius >= 0, 0 < confidence < 1"
        )
    return samples.shape[0], samples.shape[1]
