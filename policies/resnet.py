"""ResNet-18 (He et al. 2016) with GroupNorm and a spatial softmax, the eye of robomimic and Diffusion Policy.

GroupNorm (16 channels a group) in the place of BatchNorm: batches are small, and the averaged weights of training have no
running statistics that could lag behind them (Chi et al. 2023). Nothing is pretrained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.spatial_softmax import SpatialSoftmax
from robot_stack.errors import PolicyError

STAGES = (64, 128, 256, 512)
GROUP, CELL = 16, 32


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is projected where the size changes."""

    def __init__(self, enter: int, leave: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(enter, leave, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(leave, leave, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(leave // GROUP, leave) for _ in range(2))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or enter != leave:
            self.shortcut = nn.Sequential(
                nn.Conv2d(enter, leave, 1, stride=stride, bias=False), nn.GroupNorm(leave // GROUP, leave)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, enter, h, w) to (B, leave, h / stride, w / stride)."""
        hidden = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(hidden + self.shortcut(x))


class ResNet18(nn.Module):
    """Float picture (B, h, w, 3), 0..255, to (B, 2 * keypoints).

    Raises PolicyError without keypoints, or where the whole picture is one cell.
    """

    def __init__(self, size: tuple[int, int], keypoints: int) -> None:
        super().__init__()
        if keypoints < 1:
            raise PolicyError(f"policy.keypoints: found {keypoints}, allowed 1 or more for encoder=resnet18; robomimic has 32")
        if max(size) <= CELL:
            raise PolicyError(f"encoder=resnet18: found pictures of {size}, allowed a side above {CELL}: nowhere to look else")
        self.num_features = 2 * keypoints
        self.stem = nn.Conv2d(3, STAGES[0], 7, stride=2, padding=3, bias=False)
        self.norm = nn.GroupNorm(STAGES[0] // GROUP, STAGES[0])
        blocks = []
        for enter, leave in zip((STAGES[0], *STAGES), STAGES, strict=False):
            blocks += [BasicBlock(enter, leave, 1 if leave == STAGES[0] else 2), BasicBlock(leave, leave, 1)]
        self.stages = nn.Sequential(*blocks)
        self.maps = nn.Conv2d(STAGES[-1], keypoints, 1)
        self.places = SpatialSoftmax(*((side + CELL - 1) // CELL for side in size))

    def forward(self, pixels: Tensor) -> Tensor:
        """The keypoints."""
        x = F.relu(self.norm(self.stem(pixels.permute(0, 3, 1, 2) / 127.5 - 1.0)))
        maps: Tensor = self.maps(self.stages(F.max_pool2d(x, 3, stride=2, padding=1)))
        places: Tensor = self.places(torch.flatten(maps, 2))
        return places
