"""Policies that LeRobot itself saved, small and not trained, as bundles."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")
pytest.importorskip("lerobot", reason="needs LeRobot: see the extra `lerobot` in pyproject.toml")

import torch

from policies.adapters.foreign import export_foreign
from policies.adapters.lerobot_policy import load_lerobot
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.errors import PolicyError
from robot_stack.foreign import loader
from tests.policies.lerobot_checkpoints import batch, library, saved


@pytest.fixture(scope="module")
def episodes(make):
    """Two joints that move, so that their order is seen."""
    found = make(2, samples=12)
    return [replace(e, q=e.q + np.arange(3) * 0.3 * np.cos(np.arange(len(e)))[:, None]) for e in found]


@pytest.fixture(scope="module")
def act(episodes, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("lerobot") / "act", "act", episodes)


def test_act_gives_the_actions_that_lerobot_would_play(act, episodes, tmp_path):
    assert loader(tmp_path) is None
    bundle = OnnxPolicy(export_foreign(loader(act)(episodes), episodes, tmp_path / "bundle"))
    manifest = bundle.manifest
    assert (manifest.name, manifest.rows, manifest.rate_hz, manifest.velocity) == ("lerobot_act", 6, 20.0, False)
    assert manifest.parity["max_abs_rad"] < 1e-4
    policy, before, after = library(act)
    policy.reset()
    seen = observation_at(episodes[1], 5)
    played = np.stack([after(policy.select_action(before(batch(seen))))[0].numpy() for _ in range(6)])
    np.testing.assert_allclose(bundle.decide(seen).chunk.q, played, atol=1e-4)


def test_joints_in_another_order_are_put_into_the_robots(act, episodes, tmp_path):
    names = [episodes[0].joint_names[i] for i in (2, 0, 1)]
    turned = shutil.copytree(act, tmp_path / "turned")
    (turned / "data/meta").mkdir(parents=True)
    (turned / "data/meta/info.json").write_text(json.dumps({"features": {"observation.state": {"names": names}}}))
    (turned / "train_config.json").write_text(json.dumps({"dataset": {"root": str(turned / "data")}}))
    seen, noise = observation_at(episodes[0], 3), np.zeros((1, 6, 3), np.float32)
    swapped = replace(seen, joints=replace(seen.joints, q=seen.joints.q[[1, 2, 0]], qd=seen.joints.qd[[1, 2, 0]]))
    straight, crossed = (load_lerobot(folder, episodes) for folder in (act, turned))
    np.testing.assert_allclose(crossed.original(swapped, noise)[0], straight.original(seen, noise)[0][:, [1, 2, 0]], atol=1e-6)


def test_diffusion_denoises_as_lerobot_does_from_the_same_noise(episodes, tmp_path):
    folder = saved(tmp_path / "diffusion", "diffusion", episodes)
    found = load_lerobot(folder, episodes)
    bundle = OnnxPolicy(export_foreign(found, episodes, tmp_path / "bundle"), candidates=2)
    manifest = bundle.manifest
    assert (manifest.rows, manifest.denoising_steps, manifest.velocity) == (7, 3, True)
    assert manifest.parity["max_abs_rad"] < 1e-3 and manifest.figures["one_look_rad"] >= 0.0
    policy, before, after = library(folder)
    noise = torch.from_numpy(bundle.noise)
    for one in range(2):
        policy.reset()
        start = torch.cat([found.network.past, noise[one : one + 1]], dim=1)
        played = [after(policy.select_action(before(batch(observation_at(episodes[0], 0))), noise=start)) for _ in range(4)]
        sampled = bundle.sample(observation_at(episodes[0], 0)).actions[one, :4]
        np.testing.assert_allclose(sampled, torch.cat(played).numpy(), atol=1e-3)


def test_a_policy_trained_for_ddpm_samples_by_ddim(episodes, tmp_path):
    settings = {"noise_scheduler_type": "DDPM", "num_inference_steps": None, "n_obs_steps": 1}
    found = load_lerobot(saved(tmp_path / "ddpm", "diffusion", episodes, **settings), episodes)
    assert (found.steps, found.rows, found.velocity) == (10, 8, False)


def test_what_the_robot_does_not_have_is_refused(act, episodes, make, tmp_path):
    with pytest.raises(PolicyError, match=r"allowed 4 joints and pictures of scene, wrist"):
        load_lerobot(act, make(1, joints=4))
    with pytest.raises(PolicyError, match=r"allowed 3 joints and pictures of scene; next: a policy for this robot"):
        load_lerobot(act, [replace(e, images={"scene": e.images["scene"]}) for e in episodes])
