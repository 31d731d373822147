"""SmolVLA that LeRobot itself saved, small and not trained, as a bundle; and why pi0 is none."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")
pytest.importorskip("lerobot", reason="needs LeRobot: see the extra `lerobot` in pyproject.toml")
pytest.importorskip("num2words", reason="needs num2words, for SmolVLM's processor: see the extra `lerobot`")

import torch

from policies.adapters.foreign import export_foreign
from policies.adapters.lerobot_policy import load_lerobot
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.errors import PolicyError
from robot_stack.foreign import loader
from tests.policies.lerobot_checkpoints import batch, library, saved, small_smolvlm


@pytest.fixture(scope="module")
def episodes(make):
    """Three joints that move and pictures that are not square."""
    found = make(2, samples=12)
    moving = [replace(e, q=e.q + np.arange(3) * 0.3 * np.cos(np.arange(len(e)))[:, None]) for e in found]
    return [replace(e, images={name: images[:, :24] for name, images in e.images.items()}) for e in moving]


@pytest.fixture(scope="module")
def smolvla(episodes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smolvla")
    return saved(folder / "policy", "smolvla", episodes, vlm_model_name=str(small_smolvlm(folder / "vlm")))


def played(folder, network, seen, noise):
    """LeRobot's own chunks (N, T, J), by its own processors and its own steps from the same noise."""
    policy, before, after = library(folder)
    start = network.started(torch.from_numpy(noise))
    ready = before(batch(seen))
    chunks = [policy.predict_action_chunk(dict(ready), noise=one[None])[0] for one in start]
    return np.stack([after(chunk).numpy() for chunk in chunks])


def test_smolvla_gives_the_chunks_that_lerobot_does_from_the_same_noise(smolvla, episodes, tmp_path):
    found = loader(smolvla)(episodes)
    bundle = OnnxPolicy(export_foreign(found, episodes, tmp_path / "bundle"), candidates=5)
    manifest = bundle.manifest
    assert (manifest.name, manifest.rows, manifest.denoising_steps, manifest.tokens) == ("lerobot_smolvla", 6, 2, 0)
    assert manifest.parity["max_abs_rad"] < 1e-4
    seen = observation_at(episodes[1], 5)
    expected = played(smolvla, found.network, seen, bundle.noise)
    np.testing.assert_allclose(bundle.sample(seen).actions, expected, atol=1e-4)
    assert expected.std(0).max() > 0.01  # candidates differ
    with pytest.raises(PolicyError, match=r"instruction: found 'elsewhere', allowed 'go there'"):
        bundle.decide(replace(seen, instruction="elsewhere"))


@pytest.mark.parametrize(
    "settings",
    [
        {"empty_cameras": 1, "pad_language_to": "max_length", "prefix_length": 90},
        {"shape": (3, 20, 20), "attention_mode": "self_attn", "add_image_special_tokens": True, "max_action_dim": 3},
        {"self_attn_every_n_layers": -1, "resize_imgs_with_padding": (16, 16), "num_expert_layers": 1},
    ],
)
def test_however_lerobot_set_it_up_the_network_says_the_same(settings, smolvla, episodes, tmp_path):
    order, renamed = [2, 0, 1], {"observation.images.scene": "observation.images.camera1"}
    names = [episodes[0].joint_names[i] for i in order]
    vlm = {"vlm_model_name": str(smolvla.parent / "vlm")}
    folder = saved(tmp_path / "policy", "smolvla", episodes, names, renamed, **vlm, **settings)
    network = load_lerobot(folder, episodes).network
    seen = observation_at(episodes[1], 5)
    noise = np.random.default_rng(0).standard_normal((3, 6, 3)).astype(np.float32)
    turned = replace(seen, joints=replace(seen.joints, q=seen.joints.q[order], qd=seen.joints.qd[order]))
    expected = played(folder, network, turned, noise)
    pictures = [torch.from_numpy(seen.frames[name].rgb.copy()) for name, _ in network.around.cameras]
    with torch.no_grad():
        joints = torch.tensor(seen.joints.q, dtype=torch.float32)
        ours = network(pictures, joints, joints, torch.from_numpy(noise))[0].numpy()
    np.testing.assert_allclose(ours[..., order], expected, atol=1e-5)
    np.testing.assert_allclose(network.original(seen, noise)[..., order], expected, atol=1e-5)


def test_a_smolvla_that_cannot_be_a_bundle_is_refused(smolvla, episodes, tmp_path):
    told = [episodes[0], replace(episodes[1], instruction="go back")]
    with pytest.raises(PolicyError, match=r"found .*'go back'.*, allowed .*'go there'"):
        load_lerobot(smolvla, told)
    for key, value, wanted in (
        ("vlm_model_name", str(tmp_path / "gone"), "vlm_model_name: found '.*gone': .*; allowed the folder of a SmolVLM"),
        ("adapt_to_pi_aloha", True, "adapt_to_pi_aloha: found true, allowed false; next: fine-tune it on joints in rad"),
    ):
        other = shutil.copytree(smolvla, tmp_path / key)
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(PolicyError, match=wanted):
            load_lerobot(other, episodes)


def test_lerobot_itself_cannot_build_pi0_beside_a_released_transformers():
    from lerobot.policies.pi0.configuration_pi0 import PI0Config
    from lerobot.policies.pi0.modeling_pi0 import PI0Policy

    smallest = PI0Config(device="cpu", paligemma_variant="gemma_300m", action_expert_variant="gemma_300m")
    with torch.device("meta"), pytest.raises(ValueError, match="incorrect transformer version"):
        PI0Policy(smallest)
