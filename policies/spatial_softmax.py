"""Where a feature is in the picture (Finn et al. 2016, "Deep Spatial Autoencoders")."""

import torch
from torch import Tensor, nn


class SpatialSoftmax(nn.Module):
    """Maps (B, K, h * w) to the expected coordinates of each, x of all then y (B, 2 K), in -1..1."""

    grid_x: Tensor
    grid_y: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid_x", x.reshape(-1), persistent=False)
        self.register_buffer("grid_y", y.reshape(-1), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """The coordinates, by sums: as a product of matrices, half precision would round a place."""
        weight = torch.softmax(maps.float(), dim=-1)
        return torch.cat([(weight * self.grid_x).sum(-1), (weight * self.grid_y).sum(-1)], dim=-1)
