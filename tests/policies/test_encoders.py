"""The eyes a policy may have: their sizes, what they see, what they refuse."""

from dataclasses import replace

import pytest
import torch

from policies.encoder import ObservationEncoder
from policies.resnet import ResNet18
from policies.vit import VisionTransformer
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import ConfigError, PolicyError

SMALL = PolicySettings(width=32, depth=1, patch=8, heads=2, head_size=8, spread=2, keypoints=8)
SIZE = (24, 32)


def test_resnet18_has_the_weights_of_the_papers_without_its_classifier():
    eye = ResNet18((224, 224), 32)
    body = sum(p.numel() for name, p in eye.named_parameters() if not name.startswith("maps"))
    assert body == 11_176_512 and eye.num_features == 64


def test_keypoints_of_resnet18_are_places_in_the_picture():
    torch.manual_seed(0)
    with torch.no_grad():
        places = ResNet18((64, 96), 8).eval()(torch.rand(2, 64, 96, 3) * 255.0)
    assert places.shape == (2, 16) and float(places.abs().max()) <= 1.0


@pytest.mark.parametrize("encoder", ["conv", "vit", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_every_encoder_learns_where_a_spot_is(encoder):
    torch.manual_seed(0)
    size, steps = ((48, 64), 8) if encoder == "resnet18" else (SIZE, 60)
    eye, ask = ObservationEncoder(size, 1, 2, replace(SMALL, encoder=encoder)), torch.nn.Linear(32, 1)
    column, pictures = torch.arange(1, 8) * size[1] // 8, torch.full((7, *size, 3), 60.0)
    for picture, c in zip(pictures, column, strict=True):
        picture[8:16, c - 4 : c + 4] = 230.0
    optimiser, losses = torch.optim.Adam([*eye.parameters(), *ask.parameters()], lr=3e-3), []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (ask(eye(eye.look([pictures]), torch.zeros(7, 2)))[:, 0] - 2.0 * column / size[1] + 1.0).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_each_camera_has_an_eye_of_its_own():
    encoder = ObservationEncoder(SIZE, 2, 3, replace(SMALL, encoder="vit"))
    assert encoder.num_seen == 64 and len(encoder.cameras) == 2
    assert encoder(encoder.look([torch.zeros(5, *SIZE, 3)] * 2), torch.zeros(5, 3)).shape == (5, 32)


def test_what_does_not_fit_is_refused():
    with pytest.raises(PolicyError, match=r"patch: found 7 for pictures of \(24, 32\)"):
        VisionTransformer(SIZE, replace(SMALL, patch=7))
    with pytest.raises(PolicyError, match="policy.keypoints: found 0"):
        ResNet18((64, 64), 0)
    with pytest.raises(PolicyError, match=r"encoder=resnet18: found pictures of \(24, 32\)"):
        ResNet18(SIZE, 8)
    with pytest.raises(ConfigError, match="policy.encoder: found 'vgg', allowed conv, resnet18, vit, tower"):
        PolicySettings(encoder="vgg")
    with pytest.raises(ConfigError, match="policy.encoder: found 'vit', allowed 'conv': vla cuts"):
        PolicySettings(name="vla", tokens=8, encoder="vit")
    for settings in ({"encoder": "tower"}, {"tower": "somewhere"}):
        with pytest.raises(ConfigError, match="policy.tower: found"):
            PolicySettings(**settings)
