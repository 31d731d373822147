"""Streaming Diffusion Policy: the staircase of noise levels, and the plan as its buffer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from policies.chunk_policy import ChunkPolicy, ChunkShape
from policies.streaming import TOP, StreamingHead, level_table
from policies.transformer import TransformerDenoiser
from policies.unet import UNetDenoiser
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import ConfigError

ROWS, JOINTS = 8, 2
STREAM = PolicySettings(name="streaming", rows=ROWS, basis="rows", denoiser="unet", width=32, steps=5)


class Knows(nn.Module):
    """The noise on rows that are all `chunk`, from the level of each."""

    def __init__(self, chunk, alpha):
        super().__init__()
        self.chunk, self.alpha, self.asked = chunk, alpha, []

    def forward(self, x, t, condition):
        self.asked.append(t)
        level = (t * (len(self.alpha) - 1)).round().long()
        a = self.alpha[level].expand(1, ROWS, JOINTS).flatten(1)
        return (x - a.sqrt() * self.chunk) / (1.0 - a).clamp(min=1e-6).sqrt(), x


def head_that_knows(chunk):
    head = StreamingHead(ROWS, JOINTS, nn.Identity(), STREAM)
    head.denoiser = Knows(chunk, head.alpha)
    return head


def test_a_decision_takes_one_blocks_share_of_noise_off_every_row():
    table = level_table(8, blocks=2, steps=5, levels=100)
    assert table.shape == (5, 6, 8)
    assert table[0, :, 0].tolist() == [95, 76, 57, 38, 19, 0]
    assert (table[0] == table[0, :, :1]).all()
    assert table[2, :, 2].tolist() == [50, 40, 30, 20, 10, 0]
    assert table[2, :, 7].tolist() == [95, 90, 80, 70, 60, 50]
    assert (table[2, :, :2] == 0).all()


def test_training_sees_given_rows_stairs_and_single_levels():
    torch.manual_seed(0)
    levels = StreamingHead(ROWS, JOINTS, nn.Identity(), STREAM).staircases(4000)
    assert int(levels.min()) == 0 and int(levels.max()) == 100
    assert (levels[:, 1:] >= levels[:, :-1]).all()
    alike = (levels == levels[:, :1]).all(1).float().mean()
    assert 0.15 < float(alike) < 0.25
    assert float((levels[:, 0] == 0).float().mean()) == pytest.approx(0.8 * 4 / 5, abs=0.03)


def test_without_a_plan_a_denoiser_that_knows_leads_from_noise_to_the_chunk():
    chunk = torch.linspace(-1.0, 1.0, ROWS * JOINTS)
    found, _ = head_that_knows(chunk).sample(torch.zeros(1, 4), torch.randn(3, ROWS * JOINTS))
    torch.testing.assert_close(found, chunk.expand(3, -1), atol=1e-3, rtol=0)


def test_given_rows_are_the_plans_exactly_and_beyond_the_clip_too():
    head, plan = head_that_knows(torch.zeros(ROWS * JOINTS)), torch.full((1, ROWS * JOINTS), 7.0)
    found, _ = head.sample(torch.zeros(1, 4), torch.randn(3, ROWS * JOINTS), plan, head.levels[3])
    assert (found[:, : 3 * JOINTS] == 7.0).all() and (found[:, 3 * JOINTS :].abs() <= 1.0).all()


def test_a_policy_goes_on_from_its_plan_and_begins_anew_without_one():
    torch.manual_seed(0)
    policy = ChunkPolicy(ChunkShape(JOINTS, (("scene", (24, 32)),)), replace(STREAM, steps=2)).eval()
    condition, centre, noise, plan = (
        torch.randn(1, 32),
        torch.zeros(1, ROWS, JOINTS),
        torch.randn(3, ROWS, JOINTS),
        torch.randn(2, ROWS, JOINTS),
    )
    table = policy.gains()
    new, _ = policy.sample(condition, centre, noise)
    for given, same in ((0, True), (2, False)):
        chunks, _ = policy.sample(condition, centre, noise, plan[0], table[given])
        other, _ = policy.sample(condition, centre, noise, plan[1], table[given])
        assert torch.equal(chunks, new) == torch.equal(chunks, other) == same
        torch.testing.assert_close(chunks[:, :given], plan[0, :given].expand(3, -1, -1), atol=1e-6, rtol=0)


def test_the_plan_is_noisier_the_later_and_what_is_lost_in_noise_does_not_count():
    head, noise = head_that_knows(torch.zeros(ROWS * JOINTS)), torch.randn(1, ROWS * JOINTS)
    begun = [head._noisy(torch.full((1, ROWS * JOINTS), y), noise, head.levels[2, 0]) for y in (0.0, 1.0)]
    share = (begun[1] - begun[0]).reshape(ROWS, JOINTS)[:, 0]
    assert share[0] == share[1] == 1.0 and 0.3 < float(share[2]) < 0.9 and float(share[-1]) == 0.0


@pytest.mark.parametrize(
    "make", [lambda: UNetDenoiser(ROWS, JOINTS, 32), lambda: TransformerDenoiser(ROWS, JOINTS, 32, 1, 2, 8, 0.0)]
)
def test_a_time_for_each_row_says_what_one_time_says_where_they_are_alike(make):
    torch.manual_seed(0)
    denoiser = make().eval()
    for weights in denoiser.parameters():
        nn.init.normal_(weights, std=0.2)
    x, condition = torch.randn(3, ROWS * JOINTS), torch.randn(1, 32)
    one, _ = denoiser(x, torch.full((1, 1), 0.3), condition)
    each, _ = denoiser(x, torch.full((1, ROWS, 1), 0.3), condition)
    torch.testing.assert_close(one, each, atol=1e-5, rtol=0)
    other, _ = denoiser(x, torch.linspace(0.0, 1.0, ROWS).reshape(1, ROWS, 1), condition)
    assert not torch.allclose(one, other, atol=1e-3)


def test_levels_stay_below_the_top_whatever_the_sizes():
    for rows, blocks, steps, levels in ((64, 2, 5, 100), (16, 4, 3, 50), (7, 7, 1, 10)):
        table = level_table(rows, blocks, steps, levels)
        assert int(table.min()) == 0 and int(table.max()) <= np.ceil(TOP * levels)


@pytest.mark.parametrize("wrong", [{"basis": "cosine"}, {"denoiser": "mlp"}])
def test_what_knows_no_rows_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"policy.{next(iter(wrong))}: found"):
        replace(STREAM, **wrong)
