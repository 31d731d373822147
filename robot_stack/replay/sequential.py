"""Stop as soon as a difference is decided: an e-process over discordant pairs (McNemar's pairs, looked at after every one).

Two variants run on the same seeds; only pairs in which they differ say which is better. Under "no difference" each such pair
goes either way with p = 1/2. With k of n discordant pairs in favour of one, the mixture of likelihood ratios over p ~ U(0, 1)

    E = 2^n B(k + 1, n - k + 1) = 2^n / ((n + 1) C(n, k))

is a non-negative martingale of mean 1, so P(E >= 1 / alpha at any time) <= alpha (Ville): one may look as often as one likes,
and stop at the first time it says so, without spending more than alpha (Ramdas et al., Game-theoretic statistics, 2023).
"""

from collections.abc import Sequence
from math import comb

import numpy as np

from robot_stack.errors import ContractError

BETS = 20
"""How many bets `not_worse` mixes, from next to nothing to everything; large ones are the more frequent, pairs mostly agree."""


def evidence(wins: int, losses: int) -> float:
    """E of `wins` and `losses` among discordant pairs; 1 when there is none."""
    n = wins + losses
    return 2.0**n / ((n + 1) * comb(n, wins))


def worse(losses: int, wins: int) -> float:
    """E for "loses more often than it wins" alone: the mixture over p ~ U(1/2, 1) of losing, k = `losses` of n discordant pairs,

    E = sum_{i <= k} C(n + 1, i) / ((n + 1) C(n, k)),    about twice the two-sided E when nearly all are lost.
    """
    n = losses + wins
    return sum(comb(n + 1, i) for i in range(losses + 1)) / ((n + 1) * comb(n, losses))


def worse_somewhere(counts: Sequence[tuple[int, int]]) -> float:
    """E of (losses, wins) under several conditions: half a bet on all of them together, half spread over them one by one.

    Every part is a martingale while no condition is worse, so their mean is one too: no correction for many looks is due.
    """
    together = worse(sum(losses for losses, _ in counts), sum(wins for _, wins in counts))
    return 0.5 * together + 0.5 * sum(worse(*one) for one in counts) / len(counts)


def decided(one: Sequence[bool], other: Sequence[bool], alpha: float = 0.05) -> bool:
    """True when `one` and `other`, outcomes on the same seeds, differ with an error of at most `alpha` over all looks.

    Raises ContractError when they are not of the same length.
    """
    if len(one) != len(other):
        raise ContractError(f"paired outcomes: found {len(one)} and {len(other)}, allowed as many of each, on the same seeds")
    wins = sum(a and not b for a, b in zip(one, other, strict=True))
    losses = sum(b and not a for a, b in zip(one, other, strict=True))
    return evidence(wins, losses) >= 1.0 / alpha


def not_worse(one: Sequence[bool], other: Sequence[bool], margin: float) -> float:
    """Evidence (an e-value) that the success of `one` is less than `margin` (0..1) below that of `other`, on the same seeds.

    With x = one - other in {-1, 0, 1} the hypothesis "at least `margin` worse" is E[x] <= -margin, under which every
    prod(1 + l (x + margin)), 0 <= l <= 1 / (1 - margin), is a supermartingale of mean at most 1 (betting: Waudby-Smith and
    Ramdas, JRSS B 2024), and so is their mean over l. Like `evidence` it may be looked at after every pair, or after every round
    of as many pairs from each of several conditions, E[x] then being their mean (the geometric mean of the round's factors is at
    most the arithmetic one); at 1 / alpha it is decided.
    """
    x = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    bets = np.sqrt((np.arange(BETS) + 0.5) / BETS) / (1.0 - margin)
    return float(np.prod(1.0 + np.outer(bets, x + margin), axis=1).mean())
