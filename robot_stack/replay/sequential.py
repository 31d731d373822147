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

BETS = 20
"""How many bets `not_worse` mixes, from next to nothing to everything."""


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


def not_worse(one: Sequence[bool], other: Sequence[bool], margin: float) -> float:
    """Evidence (an e-value) that the success of `one` is less than `margin` (0..1) below that of `other`, on the same seeds.

    With x = one - other in {-1, 0, 1} the hypothesis "at least `margin` worse" is E[x] <= -margin, under which every
    prod(1 + l (x + margin)), 0 <= l <= 1, is a supermartingale of mean at most 1 (betting: Waudby-Smith and Ramdas, JRSS B
    2024), and so is their mean over l. Like `evidence` it may be looked at after every pair; at 1 / alpha it is decided.
    """
    bets = [(i + 0.5) / BETS for i in range(BETS)]
    wealth = [1.0] * BETS
    for a, b in zip(one, other, strict=True):
        wealth = [w * (1.0 + bet * (int(a) - int(b) + margin)) for w, bet in zip(wealth, bets, strict=True)]
    return sum(wealth) / BETS
