"""A vision model from a folder as the eye of a policy, with tiny models saved here."""

import contextlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from policies.adapters.operators import import_torchvision
from policies.bundle import load_bundle
from policies.checkpoint import WEIGHTS, load_checkpoint
from policies.encoder import ObservationEncoder
from policies.export import export_bundle
from policies.train import train_policy
from policies.vision_tower import VisionTower
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import PolicyError

SIZE = (32, 32)
ASKED = "reads models of {0}: pip install 'robot_stack[tower]'"


@pytest.fixture(params=["transformers", "timm"], scope="module")
def folder(request, tmp_path_factory):
    with contextlib.suppress(ModuleNotFoundError):
        import_torchvision()
    library = pytest.importorskip(request.param, reason=ASKED.format(request.param), exc_type=ImportError)
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    if request.param == "transformers":
        config = library.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
        )
        library.ViTModel(config).save_pretrained(path, safe_serialization=True)
        return path
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = library.create_model("vit_tiny_patch16_224", num_classes=10, **arguments)
    save_file(model.state_dict(), path / "model.safetensors")
    card = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": arguments,
        "pretrained_cfg": {"mean": [0.4] * 3, "std": [0.2] * 3},
    }
    (path / "config.json").write_text(json.dumps(card))
    return path


def settings_with(folder, frozen=True):
    small = PolicySettings(rows=8, image_height=32, image_width=32, width=32, depth=1, steps=1, candidates=4)
    return replace(small, encoder="tower", tower=str(folder), tower_frozen=frozen)


def test_one_tower_serves_all_cameras_and_its_own_weights_are_read(folder):
    encoder = ObservationEncoder(SIZE, 2, 3, settings_with(folder))
    picture = torch.rand(2, *SIZE, 3) * 255.0
    again = ObservationEncoder(SIZE, 2, 3, settings_with(folder))
    assert len(encoder.cameras) == 1 and encoder.num_seen == 32
    torch.testing.assert_close(encoder.look([picture, picture]), again.look([picture, picture]))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_tower_stays_as_it_was_and_the_other_learns(folder, frozen, episodes, train, tmp_path):
    before = VisionTower(SIZE, folder, frozen).state_dict()
    made = train_policy(episodes, settings_with(folder, frozen), replace(train, steps=3, save_every=100), tmp_path / "made")
    assert (made / WEIGHTS).is_file()
    policy, _ = load_checkpoint(made)
    after = policy.encoder.cameras[0].state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items()) == frozen
    assert not policy.encoder.cameras[0].train().tower.training if frozen else True


def test_it_is_exported_with_the_policy(folder, episodes, train, tmp_path):
    made = train_policy(episodes, settings_with(folder), replace(train, steps=2, save_every=100), tmp_path / "made")
    manifest = load_bundle(export_bundle(made, tmp_path / "bundle", None, episodes)).manifest
    assert manifest.parity["max_abs_rad"] < 1e-4


def test_pictures_of_another_size_are_refused_with_the_setting_to_change(folder):
    with pytest.raises(PolicyError, match="next: policy.image_height"):
        VisionTower((40, 24), folder, True)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    with pytest.raises(PolicyError, match=r"config.json: can't be read"):
        VisionTower(SIZE, tmp_path, True)
    (tmp_path / "config.json").write_text('{"architecture": "vit_tiny_patch16_224", "model_type": "vit"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(PolicyError, match=r"model.safetensors: missing|timm: can't be imported"):
        VisionTower(SIZE, tmp_path, True)
