import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.replay.sequential import decided, evidence


def test_pairs_that_agree_decide_nothing() -> None:
    assert evidence(0, 0) == 1.0 and not decided([True] * 200, [True] * 200)


def test_one_sided_pairs_decide_soon_whichever_side_it_is() -> None:
    needed = next(n for n in range(1, 50) if decided([True] * n, [False] * n))
    assert needed == 8 and decided([False] * 8, [True] * 8)


def test_looking_after_every_pair_errs_no_more_often_than_said() -> None:
    rng = np.random.default_rng(0)
    heads = rng.random((2_000, 100)) < 0.5
    wrong = 0
    for row in heads:
        wins = np.cumsum(row)
        wrong += any(evidence(int(w), i + 1 - int(w)) >= 20.0 for i, w in enumerate(wins))
    assert 0 < wrong <= 0.05 * len(heads)


def test_a_real_difference_is_found_in_most_runs_of_a_hundred_seeds() -> None:
    rng = np.random.default_rng(1)
    good, bad = rng.random((200, 100)) < 0.9, rng.random((200, 100)) < 0.6
    assert np.mean([decided(list(g), list(b)) for g, b in zip(good, bad, strict=True)]) > 0.9


def test_outcomes_of_different_length_are_refused() -> None:
    with pytest.raises(ContractError, match="found 3 and 2"):
        decided([True] * 3, [False] * 2)
