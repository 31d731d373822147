"""Preferences become a wish: two ways of doing the same, of which one is liked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.checkpoint import load_checkpoint
from policies.export import export_bundle
from policies.frames import frames_of
from policies.held_out import sample_at
from policies.onnx_policy import OnnxPolicy
from policies.oppo import MARGIN, paths_of
from policies.recorded import chunks, observation_at
from policies.train import train_policy
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError

EACH, SAMPLES = 8, 20


def both_ways(liked: float) -> list[Episode]:
    """Half the episodes move the joint up, half down, and nothing that is seen tells which; `liked` 1: those that go up."""
    up = np.linspace(0.0, 0.5, SAMPLES)[:, None]
    picture = {"scene": np.full((SAMPLES, 24, 32, 3), 60, np.uint8)}
    still = np.zeros_like(up)

    def episode(number: int, way: float) -> Episode:
        score = {"score": np.full(SAMPLES, float(way == liked))}
        return Episode(f"episode_{number}", 20.0, ("joint",), still, way * up, picture, "go", columns=score)

    return [episode(number, 1.0 if number % 2 else -1.0) for number in range(2 * EACH)]


def mean_end(episode: Episode) -> float:
    """The last row of its chunks in the mean: nothing that is seen tells the time either."""
    return float(chunks(episode, 8, 20.0)[:, -1, 0].mean())


@pytest.mark.parametrize("liked", [1.0, -1.0])
def test_the_policy_does_what_was_preferred_and_its_bundle_too(liked, settings, train, tmp_path):
    episodes = both_ways(liked)
    wishing = replace(settings, name="bc", mixture=0, latent=4)
    learning = replace(train, steps=250, holdout=0, preferences="score", lr=2e-3)
    checkpoint = train_policy(episodes, wishing, learning, tmp_path / "checkpoint")
    bundle = export_bundle(checkpoint, tmp_path / "bundle", None, episodes)
    ends = [rows[-1, 0] for rows in OnnxPolicy(bundle).sample(observation_at(episodes[0], 0)).actions]
    asked = liked * mean_end(episodes[1])
    assert np.mean(ends) == pytest.approx(asked, abs=0.4 * abs(asked))


def test_without_preferences_the_same_policy_does_neither(settings, train, tmp_path):
    episodes = both_ways(1.0)
    plain = train_policy(episodes, replace(settings, name="bc", mixture=0), replace(train, steps=250, holdout=0), tmp_path)
    policy, _ = load_checkpoint(plain)
    chunk, _ = sample_at(policy, frames_of(episodes, policy.settings), 0, torch.zeros(1, settings.rows, 1))
    assert abs(float(chunk[0, -1, 0])) < 0.4 * mean_end(episodes[1])


def test_pairs_put_the_preferred_first_and_leave_equals_without_a_margin():
    paths = paths_of(both_ways(1.0), "score")
    liked, other, margin = paths.pairs(200, torch.Generator().manual_seed(0))
    by_rows = {row.numpy().tobytes(): float(score) for row, score in zip(paths.rows, paths.score, strict=True)}
    scores = [(by_rows[a.numpy().tobytes()], by_rows[b.numpy().tobytes()]) for a, b in zip(liked, other, strict=True)]
    assert all(one >= two for one, two in scores)
    assert [MARGIN * (one != two) for one, two in scores] == margin.tolist() and 0 < margin.sum() < 200


def test_a_wish_without_preferences_and_preferences_without_a_wish_are_refused(episodes, settings, train, tmp_path):
    with pytest.raises(PolicyError, match=r"policy.latent, train.preferences: found 4 and ''"):
        train_policy(episodes, replace(settings, latent=4), train, tmp_path)
    with pytest.raises(PolicyError, match="train.preferences: episode episode_0 has no column 'liked'"):
        train_policy(episodes, replace(settings, latent=4), replace(train, preferences="liked"), tmp_path)
