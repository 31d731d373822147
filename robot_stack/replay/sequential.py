"""Stop as soon as a difference is decided: an e-process over discordant pairs (McNemar's pairs, looked at after every one).

Two variants run on the same seeds; only pairs in which they differ say which is better. Under "no difference" each such pair
goes either way with p = 1/2. With k of n discordant pairs in favour of one, the mixture of likelihood ratios over p ~ U(0, 1)

    E = 2^n B(k + 1, n - k + 1) = 2^n / ((n + 1) C(n, k))

is a non-negative martingale of mean 1, so P(E >= 1 / alpha at any time) <= alpha (Ville): one may look as often as one likes,
and stop at the first time it says so, without spending more than alpha (Ramdas et al., Game-theoretic statistics, 2023).
"""

from collections.abc import Sequence
from math import comb

from robot_stack.errors import ContractError


def evidence(wins: int, losses: int) -> float:
    """E of `wins` and `losses` among discordant pairs; 1 when there is none."""
    n = wins + losses
    return 2.0**n / ((n + 1) * comb(n, wins))


def decided(one: Sequence[bool], other: Sequence[bool], alpha: float = 0.05) -> bool:
    """True when `one` and `other`, outcomes on the same seeds, differ with an error of at most `alpha` over all looks.

    Raises ContractError when they are not of the same length.
    """
    if len(one) != len(other):
        raise ContractError(f"paired outcomes: found {len(one)} and {len(other)}, allowed as many of each, on the same seeds")
    wins = sum(a and not b for a, b in zip(one, other, strict=True))
    losses = sum(b and not a for a, b in zip(one, other, strict=True))
    return evidence(wins, losses) >= 1.0 / alpha
