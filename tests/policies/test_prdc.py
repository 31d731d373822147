"""PRDC on a line: of two actions that were done, the better one, and not their mean nor what nobody did."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.prdc import NearestActions, train_actor
from policies.riql import Transitions, fit
from robot_stack.config.schema import CriticSettings, PrdcSettings

LEARN = CriticSettings(critics=2, quantile=0.0, huber=0.0, width=32, batch=64, steps=400, lr=3e-3, holdout=0.0)
ACT = PrdcSettings(alpha=0.3, width=32, batch=64, steps=300, lr=3e-3)


@pytest.fixture(scope="module")
def data():
    """In state s, s - 1 and s + 1 were done alike often; the larger, the more was earned."""
    draw = torch.Generator().manual_seed(0)
    s = torch.rand(400, 1, generator=draw) * 2.0 - 1.0
    a = s + torch.where(torch.rand(400, 1, generator=draw) < 0.5, -1.0, 1.0)
    return Transitions(s, a, a[:, 0], torch.zeros(400), s, a[:, 0])


@pytest.fixture(scope="module")
def critic(data):
    return fit(data, None, LEARN).critic


def test_the_nearest_recorded_action_is_that_of_brute_force():
    draw = torch.Generator().manual_seed(1)
    s, a = torch.randn(50, 3, generator=draw), torch.randn(50, 2, generator=draw)
    at_s, at_a = torch.randn(9, 3, generator=draw), torch.randn(9, 2, generator=draw)
    far = 4.0 * (at_s[:, None] - s).square().sum(-1) + (at_a[:, None] - a).square().sum(-1)
    assert torch.equal(NearestActions(s, a, 2.0)(at_s, at_a), a[far.argmin(1)])


def test_the_actor_takes_the_better_of_two_recorded_actions_and_goes_no_further(critic, data):
    mean, sigma = train_actor(critic, data, ACT)(data.s)
    assert float((mean - (data.s + 1.0)).abs().mean()) < 0.25
    assert sigma.shape == mean.shape and 0.0 < float(sigma.max()) < 0.5


def test_without_q_it_still_does_what_was_done_and_not_the_mean_of_it(critic, data):
    mean, _ = train_actor(critic, data, replace(ACT, alpha=0.0))(data.s)
    assert float(((mean - data.s).abs() - 1.0).abs().median()) < 0.3


def test_without_the_data_q_leads_away(critic, data):
    free, _ = train_actor(critic, data, replace(ACT, alpha=100.0))(data.s)
    held, _ = train_actor(critic, data, ACT)(data.s)
    assert float((free - data.s).mean()) > float((held - data.s).mean()) + 0.5


def test_the_same_arguments_give_the_same_actor(critic, data):
    first, second = (train_actor(critic, data, replace(ACT, steps=20))(data.s)[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
