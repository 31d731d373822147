import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.replay.sequential import decided, evidence, not_worse, worse, worse_somewhere


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


def test_losses_alone_count_about_twice_as_much_when_only_they_are_asked_about() -> None:
    assert worse(0, 0) == 1.0 and worse(7, 0) == pytest.approx(255 / 8) and worse(0, 7) < 1.0
    p, pairs = np.linspace(0.5, 1.0, 100_001), (9, 3)
    assert worse(*pairs) == pytest.approx(2 * np.trapezoid((2 * p) ** pairs[0] * (2 - 2 * p) ** pairs[1], p), rel=1e-6)


def test_a_suite_without_harm_errs_no_more_often_than_said() -> None:
    rng = np.random.default_rng(2)
    lost = np.cumsum(rng.random((200, 20, 5)) < 0.5, axis=1)
    wrong = sum(
        any(worse_somewhere([(int(k), i + 1 - int(k)) for k in row]) >= 20.0 for i, row in enumerate(run)) for run in lost
    )
    assert wrong <= 0.05 * len(lost)


def test_sixty_equal_pairs_show_that_success_is_not_ten_points_lower_and_ten_do_not() -> None:
    assert not_worse([True] * 60, [True] * 60, 0.1) > 20 > not_worse([True] * 10, [True] * 10, 0.1)


@pytest.mark.parametrize("rates", [[0.1] * 5, [0.0, 0.0, 0.0, 0.0, 0.5]])
def test_a_policy_that_is_ten_points_worse_on_the_mean_of_a_suite_is_rarely_shown_not_to_be(rates: list[float]) -> None:
    rng = np.random.default_rng(1)
    shown = 0
    for _ in range(200):
        lost = (rng.random((20, 5)) < np.array(rates)).reshape(-1)
        looks = [not_worse(list(~lost[:n]), [True] * n, 0.1) for n in range(10, 101, 10)]
        shown += max(looks) >= 20
    assert shown / 200 <= 0.05
