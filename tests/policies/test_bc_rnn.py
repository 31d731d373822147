"""LSTM-GMM: what is special about it; the contract of all heads is in test_heads."""

from dataclasses import replace

import pytest
import torch

from policies.bc_rnn import BcRnnHead
from policies.mixture import draw, mixture_of, width_of
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import ConfigError

RNN = PolicySettings(name="bc_rnn", rows=6, width=16, depth=2, mixture=3)


@pytest.fixture
def head():
    torch.manual_seed(0)
    return BcRnnHead(6, 4, RNN).eval()


def test_the_group_has_the_recipe_of_robomimic():
    settings = load(TrainCommand, ["dataset=x", "policy=bc_rnn"]).policy
    assert (settings.mixture, settings.depth, settings.width, settings.noise_scale) == (5, 2, 400, 0.0)


def test_steps_one_by_one_say_what_the_trained_lstm_says(head):
    x, begun = torch.randn(5, 6, 16), head._begin(torch.randn(5, 16))
    expected, _ = head.lstm(x, begun)
    state = list(zip(*begun, strict=True))
    for i in range(6):
        hidden, state = head._step(x[:, i], state)
        torch.testing.assert_close(hidden, expected[:, i], atol=1e-6, rtol=0)


def test_a_row_depends_on_the_rows_drawn_before_it(head):
    noise = torch.randn(1, 24)
    other = noise.clone()
    other[:, :4] += 3.0
    (one, _), (two, _) = (head.sample(torch.ones(1, 16), e) for e in (noise, other))
    assert not torch.allclose(one[:, :4], two[:, :4]) and not torch.allclose(one[:, 20:], two[:, 20:], atol=1e-6)


def test_without_spread_only_means_of_components_are_drawn():
    torch.manual_seed(0)
    mixture = mixture_of(torch.randn(1, width_of(3, 4)), 3, 1e-4)
    drawn = draw(mixture, torch.randn(200, 4), 0.0)
    nearest = torch.cdist(drawn, mixture.mean[0])
    assert float(nearest.amin(1).max()) < 1e-5 and len(set(nearest.argmin(1).tolist())) == 3


def test_draws_of_few_joints_have_the_spread_of_their_component():
    described = torch.zeros(1, width_of(1, 3))
    drawn = draw(mixture_of(described, 1, 0.0), torch.randn(20000, 3, generator=torch.Generator().manual_seed(0)), 1.0)
    torch.testing.assert_close(drawn.std(0), torch.full((3,), 0.6931), atol=0.02, rtol=0)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="policy.mixture: found 0, allowed 1 or more for bc_rnn"):
        replace(RNN, mixture=0)
