"""PRDC where two things were done alike often: the better one is learned, not their mean, nor what nobody did."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.bundle import sha256_of
from policies.checkpoint import WEIGHTS, load_checkpoint
from policies.critic import CRITIC, load_critic, save_critic
from policies.prdc import Nearest
from policies.q_rank import train_critic
from policies.train import train_policy
from policies.transitions import transitions_of
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import CriticSettings, PolicySettings, TrainSettings
from robot_stack.data.episode import Episode
from robot_stack.errors import ConfigError, PolicyError

POLICY = PolicySettings(
    name="bc", mixture=0, rows=4, image_height=8, image_width=8, width=32, depth=1, steps=1, keypoints=2, candidates=2
)
TRAIN = TrainSettings(steps=250, batch=32, lr=3e-3, holdout=0, warmup=5, shift=0, ema=0.9, log_every=0, prefetch=False)
LEARN = CriticSettings(
    modes=3, critics=2, quantile=0.0, huber=0.0, width=32, batch=64, steps=300, check_every=100, lr=3e-3, holdout=0.0
)
RECORDED, OFF = np.linspace(-0.3, 0.3, 13), np.concatenate([np.linspace(-0.5, -0.35, 4), np.linspace(0.35, 0.5, 4)])


def episode(number: int) -> Episode:
    """From anywhere in +-0.3 joint 0 is sent to +1 or to -1, every other time; +1 is a success. Pictures tell nothing."""
    way, q = 1.0 if number % 2 else -1.0, np.zeros((16, 2))
    q[:, 0] = np.random.default_rng(number).uniform(-0.3, 0.3, 16)
    action, black = np.tile([way, 0.0], (16, 1)), np.zeros((16, 8, 8, 3), np.uint8)
    return Episode(f"episode_{number}", 20.0, ("a", "b"), q, action, {"scene": black}, "go", constants={"success": way > 0.0})


@pytest.fixture(scope="module")
def data():
    return [episode(number) for number in range(8)]


@pytest.fixture(scope="module")
def critic(data, tmp_path_factory):
    """The folder of a critic, and beside it of the policy it sees with."""
    folder = tmp_path_factory.mktemp("critic")
    seer = train_policy(data, POLICY, replace(TRAIN, steps=5), folder / "seer")
    learned, _ = train_critic([transitions_of(load_checkpoint(seer)[0], e, LEARN) for e in data], LEARN)
    return save_critic(folder, learned.critic, {"checkpoint": str(seer), "sha256": sha256_of(seer / WEIGHTS)})


@pytest.fixture(scope="module")
def trained(data, critic, tmp_path_factory):
    """Where `train`ing with these settings sends joint 0 in the end from each of `q`."""
    folder, known = tmp_path_factory.mktemp("trained"), {}

    def sent(q: np.ndarray, **settings) -> np.ndarray:
        name = str(settings)
        if name not in known:
            known[name] = load_checkpoint(train_policy(data, POLICY, replace(TRAIN, **settings), folder / str(len(known))))[0]
        policy, joints = known[name], torch.zeros(len(q), 2)
        joints[:, 0] = torch.from_numpy(q)
        inputs = policy.joint_inputs(joints, None)
        with torch.no_grad():
            condition = policy.encode([torch.zeros(len(q), 8, 8, 3)], inputs)
            delta, _ = policy.sample(condition, policy.centre(inputs), torch.zeros(len(q), 4, 2))
        return q + delta[:, -1, 0].numpy()

    return sent


def from_data(sent: np.ndarray) -> np.ndarray:
    """How far from what was done, which is +1 or -1."""
    return np.abs(np.abs(sent) - 1.0)


def test_the_nearest_recorded_pair_is_that_of_brute_force():
    draw = torch.Generator().manual_seed(1)
    s, a = torch.randn(50, 3, generator=draw), torch.randn(50, 2, generator=draw)
    at_s, at_a = torch.randn(9, 3, generator=draw), torch.randn(9, 2, generator=draw)
    far = 4.0 * (at_s[:, None] - s).square().sum(-1) + (at_a[:, None] - a).square().sum(-1)
    assert torch.equal(Nearest(s, a, 2.0)(at_s, at_a), far.argmin(1))


@pytest.mark.parametrize("q", [RECORDED, OFF], ids=["where it was recorded", "off the data"])
def test_what_is_done_is_nearer_to_what_was_done_than_by_cloning(q, trained, critic):
    cloned, held = trained(q), trained(q, prdc=str(critic), prdc_alpha=0.0)
    assert np.median(from_data(cloned)) > 0.6
    assert np.median(from_data(held)) < 0.3


def test_of_two_things_that_were_done_the_better_one_is_learned(trained, critic):
    sent = trained(RECORDED, prdc=str(critic), prdc_alpha=0.3)
    assert (sent > 0.5).all() and np.median(from_data(sent)) < 0.3


def test_the_more_q_counts_the_further_it_leads_from_the_data(trained, critic):
    held, free = (trained(RECORDED, prdc=str(critic), prdc_alpha=alpha) for alpha in (0.3, 30.0))
    assert np.median(free) > np.median(held) + 0.2


def test_the_card_says_which_critic_it_was(data, critic, tmp_path):
    train_policy(data, POLICY, replace(TRAIN, steps=2, prdc=str(critic)), tmp_path)
    card = load_checkpoint(tmp_path)[1]
    assert card.critic_sha256 == sha256_of(critic / CRITIC) and card.train.prdc == str(critic)


@pytest.mark.parametrize("other", [{"name": "flow"}, {"mixture": 2}, {"name": "bc_rnn", "mixture": 1}])
def test_a_policy_without_one_mean_is_refused(other, data, critic, tmp_path):
    with pytest.raises(PolicyError, match=r"train\.prdc: found policy .* next: policy=bc policy\.mixture=0"):
        train_policy(data, replace(POLICY, **other), replace(TRAIN, prdc=str(critic)), tmp_path)


def test_a_critic_of_other_chunks_or_of_a_policy_that_has_changed_is_refused(data, critic, tmp_path):
    with pytest.raises(PolicyError, match=r"found policy\.rows, policy\.rate_hz, joints, cameras"):
        train_policy(data, replace(POLICY, rows=6), replace(TRAIN, prdc=str(critic)), tmp_path / "rows")
    with pytest.raises(PolicyError, match="train the critic again"):
        train_policy(data, POLICY, replace(TRAIN, prdc=str(tmp_path)), tmp_path / "none")
    seer = train_policy(data, POLICY, replace(TRAIN, steps=6), tmp_path / "seer")
    save_critic(tmp_path, load_critic(critic)[0], {"checkpoint": str(seer), "sha256": sha256_of(critic / CRITIC)})
    with pytest.raises(PolicyError, match="next: robot-stack relabel critic"):
        train_policy(data, POLICY, replace(TRAIN, prdc=str(tmp_path)), tmp_path / "changed")


def test_it_is_a_word_at_the_command_line_and_off_without_it():
    words = ["dataset=d", "policy=bc", "policy.mixture=0"]
    assert load(TrainCommand, words).train.prdc == ""
    train = load(TrainCommand, [*words, "train.prdc=runs/critic", "train.prdc_alpha=1", "train.prdc_beta=3"]).train
    assert (train.prdc, train.prdc_alpha, train.prdc_beta) == ("runs/critic", 1.0, 3.0)
    with pytest.raises(ConfigError, match=r"train\.prdc_alpha: found -1"):
        TrainSettings(prdc_alpha=-1.0)
