"""The flags on curves that are known, and on runs that were made to over- and underfit."""

import pytest
import torch

from policies.riql import Transitions, fit
from policies.workflow import Check, judge
from robot_stack.config.schema import CriticSettings

SHORT = CriticSettings(critics=2, quantile=0.0, huber=0.0, width=32, batch=64, steps=400, check_every=40, weight_decay=0.0)


def curve(qs, explained=0.9, held=None):
    helds = held or [float("nan")] * len(qs)
    return [Check(10 * (i + 1), q, 0.1, explained, h) for i, (q, h) in enumerate(zip(qs, helds, strict=True))]


def test_a_run_whose_q_rises_and_stays_is_taken_at_its_end():
    verdict = judge(curve([0.1, 0.3, 0.5, 0.6, 0.61, 0.605]))
    assert (verdict.best, verdict.overfitting, verdict.underfitting) == (5, False, False)


def test_a_run_whose_q_falls_again_overfits_and_is_taken_at_the_peak():
    verdict = judge(curve([0.1, 0.4, 0.6, 0.6, 0.5, 0.3, 0.2]))
    assert verdict.best in (2, 3) and verdict.overfitting


def test_one_outlier_is_no_peak():
    assert not judge(curve([0.1, 0.2, 0.9, 0.3, 0.4, 0.5])).overfitting


def test_a_q_that_only_falls_as_costs_are_learned_does_not_overfit():
    assert not judge(curve([0.02, -0.5, -1.0, -1.5, -1.6])).overfitting


def test_held_out_episodes_that_q_knows_ever_less_of_are_overfitting_too():
    verdict = judge(curve([0.1, 0.2, 0.3, 0.4, 0.5], held=[0.3, 0.6, 0.6, 0.4, 0.2]))
    assert verdict.overfitting and verdict.best in (1, 2) and "overfitting" in str(verdict)


def test_a_td_error_that_stays_high_is_underfitting():
    assert judge(curve([0.1, 0.1, 0.1], explained=0.2)).underfitting
    assert judge(curve([0.1, 0.1, 0.1], explained=float("nan"))).underfitting


def test_there_has_to_be_something_to_judge():
    with pytest.raises(ValueError, match="at least 1"):
        judge([])


def worlds(rows, noise, seed):
    """Chunks that end the episode: what is earned is linear in state and chunk, plus `noise` that nothing explains."""
    draw = torch.Generator().manual_seed(seed)
    s, a = torch.randn(rows, 12, generator=draw), torch.randn(rows, 2, generator=draw)
    r = 0.3 * (s[:, 0] + a[:, 0]) + noise * torch.randn(rows, generator=draw)
    return Transitions(s, a, r, torch.zeros(rows), s, r)


def test_a_run_with_enough_data_is_neither():
    verdict = fit(worlds(2000, 0.05, 0), worlds(500, 0.05, 1), SHORT).verdict
    assert not verdict.overfitting and not verdict.underfitting


def test_a_run_on_few_noisy_episodes_is_seen_to_overfit_and_an_early_critic_is_kept():
    learned = fit(worlds(60, 0.5, 0), worlds(500, 0.5, 1), SHORT)
    assert learned.verdict.overfitting and not learned.verdict.underfitting
    assert learned.verdict.best < len(learned.checks) // 2


def test_a_run_that_is_too_short_is_seen_to_underfit():
    assert fit(worlds(2000, 0.05, 0), None, SHORT.__class__(**{**vars(SHORT), "steps": 20, "lr": 1e-4})).verdict.underfitting
