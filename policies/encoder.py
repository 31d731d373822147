"""From pictures to one condition vector, computed once per decision whatever the number of candidates.

Each camera has its own network, of the kind `policy.encoder` names. conv is small, and one of two: `KeypointEncoder`: three
convolutions, then a spatial softmax whose expected image coordinates are the keypoints, plus the mean activation of each map,
which tells whether a thing is there at all; few numbers, for few episodes of a cluttered world. `GridEncoder` (`keypoints: 0`):
three strided convolutions and a linear layer over the grid of cells; where things are small, fixed cameras see them and there is
data enough, it learns where they are in a fraction of the steps. resnet18 and vit are larger, for more data (`resnet`, `vit`);
tower is one pretrained network for all cameras (`vision_tower`).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.resnet import ResNet18
from policies.spatial_softmax import SpatialSoftmax
from policies.vision_tower import VisionTower
from policies.vit import VisionTransformer
from robot_stack.config.schema import PolicySettings

GRID_FEATURES = 96


def area_weights(source: int, target: int) -> Tensor:
    """Weights (target, source) that average exactly the source pixels each target pixel covers."""
    edges = np.linspace(0.0, source, target + 1)
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return torch.tensor(np.clip(overlap, 0.0, None) * target / source, dtype=torch.float32)


class Resize(nn.Module):
    """uint8 (B, H, W, 3) to float (B, h, w, 3), still 0..255.

    Two matrix products: the same arithmetic in PyTorch and in every engine. Colours come first for the second, which takes half
    the time so.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        super().__init__()
        self.same = source == target
        self.register_buffer("rows", area_weights(source[0], target[0]), persistent=False)
        self.register_buffer("columns", area_weights(source[1], target[1]).T.contiguous(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The averaged picture."""
        pixels = images.float()
        if self.same:
            return pixels
        batch, height, width, colours = pixels.shape
        pixels = torch.matmul(self.rows, pixels.reshape(batch, height, width * colours)).reshape(batch, -1, width, colours)
        return torch.matmul(pixels.permute(0, 3, 1, 2), self.columns).permute(0, 2, 3, 1)


class GridEncoder(nn.Module):
    """Float picture (B, h, w, 3), 0..255, to (B, GRID_FEATURES): every cell of an (h / 8, w / 8) grid keeps its own weights."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.num_features = GRID_FEATURES
        self.stem = nn.Conv2d(3, 16, 5, stride=2, padding=2)
        self.middle = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.cells = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        height, width = ((side + 7) // 8 for side in size)
        self.gather = nn.Linear(32 * height * width, GRID_FEATURES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, not yet squashed."""
        x = pixels.permute(0, 3, 1, 2) / 127.5 - 1.0
        x = F.relu(self.cells(F.relu(self.middle(F.relu(self.stem(x))))))
        features: Tensor = self.gather(x.flatten(1))
        return features


class KeypointEncoder(nn.Module):
    """Float picture (B, h, w, 3), 0..255, to (B, 3 * keypoints): x and y of each keypoint in -1..1, and its mean activation."""

    def __init__(self, size: tuple[int, int], keypoints: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 5, stride=2, padding=2)
        self.middle = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.maps = nn.Conv2d(32, keypoints, 3, padding=1)
        self.sharpness = nn.Parameter(torch.ones(keypoints, 1))
        self.places = SpatialSoftmax((size[0] + 3) // 4, (size[1] + 3) // 4)
        self.num_features = 3 * keypoints

    def forward(self, pixels: Tensor) -> Tensor:
        """Keypoints and mean activations."""
        x = pixels.permute(0, 3, 1, 2) / 127.5 - 1.0
        maps = self.maps(F.relu(self.middle(F.relu(self.stem(x))))).float().flatten(2)
        return torch.cat([self.places(maps * self.sharpness), torch.tanh(maps.mean(dim=-1))], dim=-1)


Eye = GridEncoder | KeypointEncoder | ResNet18 | VisionTransformer | VisionTower


def _eye(size: tuple[int, int], settings: PolicySettings) -> Eye:
    match settings.encoder:
        case "resnet18":
            return ResNet18(size, settings.keypoints)
        case "vit":
            return VisionTransformer(size, settings)
        case "tower":
            return VisionTower(size, Path(settings.tower), settings.tower_frozen)
        case _:
            return KeypointEncoder(size, settings.keypoints) if settings.keypoints else GridEncoder(size)


class ObservationEncoder(nn.Module):
    """Pictures of all cameras and normalised joints (B, D) to the condition (B, width)."""

    def __init__(self, size: tuple[int, int], num_cameras: int, num_joint_inputs: int, settings: PolicySettings) -> None:
        super().__init__()
        eyes = [_eye(size, settings) for _ in range(1 if settings.encoder == "tower" else num_cameras)]
        self.cameras = nn.ModuleList(eyes)
        self.num_seen = num_cameras * eyes[0].num_features if eyes else 0
        self.fuse = nn.Sequential(
            nn.Linear(self.num_seen + num_joint_inputs, settings.width),
            nn.SiLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, settings.width),
        )

    def look(self, pictures: list[Tensor]) -> Tensor:
        """What the pictures alone say (B, seen). `pictures`: one float (B, h, w, 3), 0..255, per camera."""
        eyes = list(self.cameras) * (len(pictures) // len(self.cameras))
        return torch.cat([eye(picture) for eye, picture in zip(eyes, pictures, strict=True)], dim=-1)

    def forward(self, seen: Tensor, joints: Tensor, tokens: Tensor | None = None) -> Tensor:
        """The condition of what was `look`ed at (B, seen) and normalised joints (B, D); `tokens` are not read."""
        condition: Tensor = self.fuse(torch.cat([seen, joints], dim=-1))
        return condition
