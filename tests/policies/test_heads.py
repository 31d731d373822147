"""Every head passes one contract: it learns, is exported, and the one engine plays it. What is special about each follows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from policies.bc import BcHead
from policies.bundle import load_bundle
from policies.checkpoint import load_checkpoint
from policies.chunk_policy import ChunkPolicy, ChunkShape
from policies.diffusion import DiffusionHead, squared_cosine
from policies.engines.tensor_rt import engine_of
from policies.export import export_bundle
from policies.features import features_of
from policies.flow_one_step import OneStepHead
from policies.frames import frames_of, set_statistics, shape_of
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from policies.train import batch_loss, train_policy
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import ConfigError, PolicyError

SMALL = PolicySettings(rows=8, image_height=24, image_width=32, width=32, depth=2, steps=2, candidates=4, keypoints=8)
HEADS = {
    "flow_one_step": {"steps": 1},
    "diffusion": {"denoiser": "unet", "basis": "rows"},
    "bc": {"mixture": 2},
    "bc_rnn": {"mixture": 2, "modes": 3},
    "streaming": {"denoiser": "unet", "basis": "rows"},
    "carp": {"basis": "rows", "codes": 16, "code_size": 4, "heads": 2, "head_size": 8},
    "vla": {"depth": 1, "patch": 8, "tokens": 16, "heads": 2, "head_size": 8, "expert_width": 16, "spread": 2},
}
MORE = {
    "flow": {},
    "diffusion transformer": {"denoiser": "transformer", "heads": 2, "head_size": 8},
    "streaming transformer": {"denoiser": "transformer", "basis": "rows", "heads": 2, "head_size": 8},
    "bc mean": {"mixture": 0},
    "flow resnet18": {"encoder": "resnet18", "image_height": 36, "image_width": 48},
    "flow vit": {"encoder": "vit", "patch": 8, "heads": 2, "head_size": 8, "spread": 2},
}


def settings_of(head):
    return replace(SMALL, name=head.split()[0], **(HEADS | MORE)[head])


LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=[*HEADS, *(pytest.param(name, marks=LONG) for name in MORE)])
def head(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(head, episodes, train, tmp_path_factory):
    return train_policy(episodes, settings_of(head), replace(train, lr=2e-3), tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="module")
def bundle(checkpoint, episodes, tmp_path_factory):
    return export_bundle(checkpoint, tmp_path_factory.mktemp("export") / "bundle", None, episodes)


def mean_loss(policy, frames, train):
    weight = set_statistics(policy, frames)
    torch.manual_seed(0)
    with torch.no_grad():
        return float(np.mean([batch_loss(policy, frames, weight, train).item() for _ in range(10)]))


def test_the_loss_falls(head, checkpoint, episodes, train):
    policy, card = load_checkpoint(checkpoint)
    frames, still = frames_of(episodes[:4], card.settings), replace(train, shift=0, colour=0.0)
    torch.manual_seed(0)
    fresh = ChunkPolicy(shape_of(episodes), card.settings).eval()
    before, after = mean_loss(fresh, frames, still), mean_loss(policy, frames, still)
    assert after < before - 0.05 * abs(before)


def test_the_exported_graph_says_what_pytorch_says(bundle):
    parity = load_bundle(bundle).manifest.parity
    assert parity["max_abs_rad"] < 1e-4 and parity["max_abs_feature"] < 1e-3


def test_tensorrt_builds_an_engine_of_it(bundle, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs the extra `tensorrt-rtx`, which builds engines without a GPU")
    assert len(engine_of(load_bundle(bundle), 4, "no GPU", (8, 9), tmp_path)) > 10_000


def test_a_decision_is_a_function_of_its_observation(bundle, episodes):
    policy, seen = OnnxPolicy(bundle), observation_at(episodes[0], 5)
    first = policy.decide(seen).chunk.q
    policy.decide(observation_at(episodes[1], 9))
    np.testing.assert_array_equal(policy.decide(seen).chunk.q, first)
    assert first.shape == (8, 3) and np.isfinite(first).all()


def test_a_candidate_does_not_depend_on_how_many_others_there_are(bundle, episodes):
    policy, noise = OnnxPolicy(bundle), np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)
    seen = observation_at(episodes[0], 4)
    many, one = policy.sample(seen, noise), policy.sample(seen, noise[:1])
    assert many.actions.shape == (7, 8, 3)
    np.testing.assert_allclose(many.actions[0], one.actions[0], atol=1e-5)


def test_features_are_those_of_their_candidate_and_of_their_observation(head, bundle, checkpoint, episodes):
    policy = OnnxPolicy(bundle)
    here, there = (policy.sample(observation_at(episode, 5)).features for episode in episodes[:2])
    assert here.shape == (4, policy.manifest.features) and not np.allclose(here, there, atol=1e-4)
    assert (head == "bc mean") == np.allclose(here[0], here[1], atol=1e-4)
    assert features_of(checkpoint, episodes[:1], samples=2, stride=5).shape == (4, policy.manifest.features)


def test_only_a_policy_that_reads_takes_another_instruction(head, bundle, episodes):
    policy, seen = OnnxPolicy(bundle), observation_at(episodes[0], 5)
    other = replace(seen, instruction="come back")
    if head == "vla":
        assert not np.array_equal(policy.decide(other).chunk.q, policy.decide(seen).chunk.q)
    with pytest.raises(PolicyError, match="instruction: found"):
        policy.decide(replace(seen, instruction="a text of more than so many bytes") if head == "vla" else other)


def test_a_head_that_does_not_exist_lists_those_that_do():
    with pytest.raises(ConfigError, match=r"policy.name: found 'dqn', allowed flow, flow_one_step"):
        PolicySettings(name="dqn")


def test_only_vla_may_be_given_bytes_to_read_and_it_must():
    for name, tokens in (("flow", 8), ("vla", 0)):
        with pytest.raises(ConfigError, match=rf"policy.tokens: found {tokens}, allowed"):
            PolicySettings(name=name, tokens=tokens)


@pytest.mark.parametrize("name", ["flow", "flow_sim", "flow_one_step", "diffusion", "streaming", "bc", "bc_rnn", "carp", "vla"])
def test_every_option_of_the_group_builds_a_policy(name):
    settings = load(TrainCommand, ["dataset=x", f"policy={name}"]).policy
    policy = ChunkPolicy(ChunkShape(7, (("scene", (48, 64)),)), settings)
    assert sum(p.numel() for p in policy.parameters()) < 6_000_000


def test_the_size_of_pi0_can_be_instantiated_without_its_memory():
    settings = load(TrainCommand, ["dataset=x", "policy=vla_pi0"]).policy
    with torch.device("meta"):
        policy = ChunkPolicy(ChunkShape(32, tuple((f"camera_{i}", (480, 640)) for i in range(3))), settings)
    prefix, expert = (sum(p.numel() for p in part.parameters()) for part in (policy.encoder, policy.head))
    assert 1.9e9 < prefix < 2.3e9 and 2.5e8 < expert < 4e8


class Bent(nn.Module):
    """A velocity with a known bend in x and in t, seen through `span`."""

    def forward(self, x, t, condition):
        return torch.sin(x) * (1.0 + t**2) + condition.mean(-1, keepdim=True), x


def test_the_target_of_one_step_flow_has_the_derivative_along_the_flow():
    one = OneStepHead(Bent(), replace(SMALL, name="flow_one_step")).double()
    x, v = torch.randn(2, 5, 6, dtype=torch.float64)
    t, s = torch.rand(2, 5, 1, dtype=torch.float64).sort(dim=0).values
    condition = torch.zeros(1, SMALL.width, dtype=torch.float64)
    _, target = one.identity(x, t, s, v, condition)
    after, before = (one.average(x + h * v, t + h, s, condition)[0] for h in (1e-5, -1e-5))
    torch.testing.assert_close(target, (v + (s - t) * (after - before) / 2e-5).detach(), atol=1e-6, rtol=1e-6)


class Knows(nn.Module):
    """The noise on x, when all chunks are `chunk`."""

    def __init__(self, chunk, levels):
        super().__init__()
        self.chunk, self.alpha = chunk, torch.tensor(squared_cosine(levels))

    def forward(self, x, t, condition):
        a = self.alpha[(t * len(self.alpha)).round().long()]
        return (x - a.sqrt() * self.chunk) / (1.0 - a).sqrt(), x


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_denoiser_that_knows_leads_to_the_chunk_and_never_beyond_the_clip(steps):
    chunk = torch.tensor([0.5, -1.0, 9.0], dtype=torch.float64)
    head = DiffusionHead(Knows(chunk, 100), replace(SMALL, name="diffusion", steps=steps))
    found, _ = head.sample(torch.zeros(1, 4), torch.randn(6, 3, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([0.5, -1.0, 5.0], dtype=torch.float64).expand(6, 3), atol=1e-4, rtol=0)


def test_the_noise_schedule_falls_from_one_to_zero():
    schedule = np.array(squared_cosine(100))
    assert schedule[0] > 0.999 and schedule[-1] < 1e-4 and (np.diff(schedule) < 0).all()


def test_the_draws_of_a_mixture_have_its_shares_means_and_spreads():
    torch.manual_seed(0)
    head = BcHead(40, replace(SMALL, name="bc", mixture=2)).eval()
    spread = float(np.log(np.expm1(0.3 - SMALL.std_min)))
    with torch.no_grad():
        head.leave.weight.zero_()
        head.leave.bias.copy_(
            torch.cat(
                [torch.log(torch.tensor([0.25, 0.75])), *(torch.full((40,), m) for m in (-2.0, 2.0)), torch.full((80,), spread)]
            )
        )
        drawn, _ = head.sample(torch.randn(1, SMALL.width), torch.randn(4000, 40))
    low = drawn.mean(1) < 0.0
    assert abs(float(low.float().mean()) - 0.25) < 0.03
    for part, mean in ((drawn[low], -2.0), (drawn[~low], 2.0)):
        assert abs(float(part.mean()) - mean) < 0.02 and abs(float(part.std()) - 0.3) < 0.01
