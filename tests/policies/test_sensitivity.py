"""Gradients of a small trained policy against differences, and its Lipschitz bound against the steepest place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="gradients come from PyTorch (extra `train`)")

from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from policies.sensitivity import Sensitivity
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import Array, Observation


@pytest.fixture(scope="module")
def policy(bundle: Path) -> OnnxPolicy:
    return OnnxPolicy(bundle)


@pytest.fixture(scope="module")
def network(checkpoint: Path, policy: OnnxPolicy) -> Sensitivity:
    return Sensitivity(checkpoint, policy.joint_names, policy.manifest.rows)


def moved(observation: Observation, q: Array) -> Observation:
    return replace(observation, joints=replace(observation.joints, q=q))


def test_the_network_says_what_the_bundle_says(policy: OnnxPolicy, network: Sensitivity, episodes: list[Episode]) -> None:
    seen = observation_at(episodes[0], 5)
    for candidate, noise in zip(policy.sample(seen).actions, policy.noise.astype(np.float64), strict=True):
        assert np.abs(network.chunk(seen, noise) - candidate).max() < 1e-4


def test_the_gradient_by_the_joints_is_the_slope(network: Sensitivity, policy: OnnxPolicy, episodes: list[Episode]) -> None:
    seen, noise = observation_at(episodes[1], 8), policy.noise[0].astype(np.float64)
    by_q, _ = network.gradient(seen, noise, row=4, joint=0)
    step = 1e-2 * np.eye(len(by_q))
    ends = [[network.chunk(moved(seen, seen.joints.q + sign * d), noise)[4, 0] for sign in (1, -1)] for d in step]
    assert np.allclose([(a - b) / 2e-2 for a, b in ends], by_q, atol=0.02)


def test_the_gradient_by_the_pixels_points_where_the_action_goes(
    network: Sensitivity, policy: OnnxPolicy, episodes: list[Episode]
) -> None:
    seen, noise = observation_at(episodes[1], 8), policy.noise[0].astype(np.float64)
    _, by_pixels = network.gradient(seen, noise, row=4, joint=0)
    frames = {
        n: replace(f, rgb=np.clip(f.rgb + 8 * np.sign(by_pixels[n]), 0, 255).astype(np.uint8)) for n, f in seen.frames.items()
    }
    assert {g.shape for g in by_pixels.values()} == {f.rgb.shape for f in seen.frames.values()}
    assert network.chunk(replace(seen, frames=frames), noise)[4, 0] > network.chunk(seen, noise)[4, 0]


def test_the_bound_is_above_every_slope_and_not_far(network: Sensitivity, episodes: list[Episode]) -> None:
    sigma = np.array([0.1, 0.2, 0.05])
    slopes = [network.condition_slope(observation_at(e, i), sigma) for e in episodes for i in (0, 7, 15)]
    assert 0.0 < max(slopes) <= network.condition_bound(sigma) < 20.0 * max(slopes)


def test_a_bound_in_smaller_sigmas_is_smaller_alike(network: Sensitivity) -> None:
    sigma = np.array([0.1, 0.2, 0.05])
    assert network.condition_bound(0.5 * sigma) == pytest.approx(0.5 * network.condition_bound(sigma))


def test_a_checkpoint_of_other_joints_is_refused(checkpoint: Path, make: Callable[..., list[Episode]]) -> None:
    with pytest.raises(PolicyError, match="allowed those of the bundle"):
        Sensitivity(checkpoint, ("a", "b"), 8)
