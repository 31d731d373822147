"""CARP: tokens in scales, and how they are told one scale after the other."""

from dataclasses import replace

import pytest
import torch

from policies.action_tokens import Tokenizer
from policies.carp import CarpHead
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import ConfigError, PolicyError

ROWS, JOINTS = 16, 3
CARP = PolicySettings(
    name="carp", rows=ROWS, basis="rows", width=32, depth=2, steps=4, codes=32, code_size=8, heads=2, head_size=8
)


@pytest.fixture(scope="module")
def taught():
    """A tokenizer that saw slow waves, and some it did not see."""
    torch.manual_seed(0)
    tokens, t = Tokenizer(ROWS, JOINTS, 4, 32, 8, 16), torch.linspace(0.0, 3.0, ROWS)[:, None]

    def waves(number):
        size, phase = torch.rand(2, number, 1, JOINTS)
        return ((0.5 + size) * torch.sin(t + 6.3 * phase)).flatten(1)

    optimiser = torch.optim.Adam(tokens.parameters(), lr=5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        tokens.learn(waves(32), torch.ones(ROWS * JOINTS))[1].backward()
        optimiser.step()
    return tokens.eval(), waves(200)


def test_each_scale_tells_more_and_all_tell_the_chunk(taught):
    tokens, rows = taught
    with torch.no_grad():
        told = tokens.quantise(tokens.encode(rows))
        missed = [float((tokens.decode(f) - rows).square().mean() / rows.square().mean()) for f in told.latent]
    assert missed == sorted(missed, reverse=True) and missed[-1] < 0.4
    assert [index.shape[1] for index in told.code] == [1, 2, 3, 4]


def test_many_codes_are_in_use(taught):
    tokens, rows = taught
    told = tokens.quantise(tokens.encode(rows))
    assert sum(len(index.unique()) for index in told.code) > 32


def test_the_tokens_of_a_chunk_lead_back_to_its_latent(taught):
    tokens, rows = taught
    told = tokens.quantise(tokens.encode(rows))
    f = tokens.nothing(rows)
    for scale, index in enumerate(told.code):
        torch.testing.assert_close(tokens.shrink(f, scale), told.seen[scale], atol=1e-5, rtol=0)
        f = f + tokens.widen(tokens.codes(scale)[index], scale)
    torch.testing.assert_close(f, told.latent[-1], atol=1e-5, rtol=0)


def test_no_scale_sees_a_finer_one():
    torch.manual_seed(0)
    head = CarpHead(ROWS, JOINTS, CARP).eval()
    condition, seen = torch.randn(1, 32), torch.randn(2, 10, 8)
    whole = head._read(condition, seen)
    for number in (1, 3, 6):
        torch.testing.assert_close(head._read(condition, seen[:, :number]), whole[:, :number], atol=1e-5, rtol=0)


def test_without_noise_the_likeliest_tokens_are_taken_and_with_it_others_too():
    torch.manual_seed(0)
    head = CarpHead(ROWS, JOINTS, CARP).eval()
    condition, noise = torch.randn(1, 32), torch.randn(6, ROWS * JOINTS)
    drawn, _ = head.sample(condition, noise)
    assert len(drawn.unique(dim=0)) > 3
    head.noise_scale = 0.0
    likeliest, _ = head.sample(condition, noise)
    torch.testing.assert_close(likeliest, likeliest[:1].expand(6, -1), atol=1e-5, rtol=0)


def test_a_chunk_that_cannot_be_halved_to_the_scales_is_refused():
    with pytest.raises(PolicyError, match="policy.steps: found 3 scales for 16 rows"):
        CarpHead(ROWS, JOINTS, replace(CARP, steps=3))
    with pytest.raises(ConfigError, match="allowed 'rows' for carp"):
        replace(CARP, basis="cosine")
