"""The vision-language-action policy: it reads what it is told, and one prefix serves all candidates."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.checkpoint import load_checkpoint
from policies.frames import frames_of
from policies.held_out import sample_at
from policies.instruction import byte_tokens
from policies.sensitivity import Sensitivity
from policies.train import train_policy
from policies.transformer import TransformerDenoiser
from policies.vla import Prefix
from robot_stack.config.schema import PolicySettings
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError

VLA = PolicySettings(
    name="vla", rows=8, image_height=16, image_width=16, width=32, depth=1, steps=2, candidates=4, patch=8, tokens=12, heads=2,
    head_size=8, expert_width=32, spread=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def told() -> list[Episode]:
    """Nothing but the instruction tells whether joint 0 goes up or down."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (20, 16, 16, 3)).astype(np.uint8)
    way = np.sin(np.linspace(0.0, np.pi / 2, 20))[:, None] * np.array([1.0, 0.0])
    return [
        Episode(f"{word} {k}", 20.0, ("a", "b"), 0.0 * way, sign * way, {"scene": picture}, word)
        for k in range(3)
        for word, sign in (("up", 1.0), ("down", -1.0))
    ]


@pytest.fixture(scope="module")
def checkpoint(told, train, tmp_path_factory):
    long = replace(train, steps=120, lr=3e-3, holdout=0, colour=0.0, repeats=4)
    return train_policy(told, VLA, long, tmp_path_factory.mktemp("vla"))


def test_it_does_as_it_is_told(checkpoint, told):
    policy, _ = load_checkpoint(checkpoint)
    frames, noise = frames_of(told, VLA), torch.randn(8, 8, 2, generator=torch.Generator().manual_seed(0))
    up, down = (sample_at(policy, frames, k * 20 + 4, noise)[0][:, -1, 0] for k in (0, 1))
    assert up.mean() > 0.3 and down.mean() < -0.3


def test_bytes_are_counted_from_one_and_padded_with_zeros():
    assert byte_tokens("é!", 5).tolist() == [0xC3 + 1, 0xA9 + 1, ord("!") + 1, 0, 0]


def test_certificates_are_refused_for_a_policy_that_reads(checkpoint):
    with pytest.raises(PolicyError, match="does not read the instruction"):
        Sensitivity(checkpoint, ("a", "b"), 8)


def test_one_cache_for_all_rows_says_what_a_copy_for_each_says():
    torch.manual_seed(0)
    expert = TransformerDenoiser(4, 3, 16, 2, 2, 8, 0.0).eval()
    torch.nn.init.normal_(expert.leave.weight)
    x, cache = torch.randn(6, 12), torch.randn(2, 2, 2, 2, 5, 8)
    shared, features = expert(x, torch.full((1, 1), 0.3), cache)
    copied, copied_features = expert(x, torch.full((6, 1), 0.3), cache.repeat(3, 1, 1, 1, 1, 1))
    torch.testing.assert_close(shared, copied, atol=1e-5, rtol=0)
    torch.testing.assert_close(features, copied_features, atol=1e-5, rtol=0)


def test_a_patch_that_does_not_divide_the_pictures_is_refused():
    with pytest.raises(PolicyError, match=r"patch: found 7 for pictures of \(16, 16\)"):
        Prefix((16, 16), 1, 2, replace(VLA, patch=7))
