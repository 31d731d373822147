"""The simplest network a head can denoise with: residual MLP blocks over flat modes, modulated by condition and time.

A denoiser maps x_t (N, D), t (N or 1, 1) and a condition to a prediction (N, D) and the hidden state (N, F) it was read from,
TACO's feature h. One condition serves all rows; B conditions serve N = R B rows, row i has condition i mod B.
Those over rows (U-Net, transformer) also take a time for each row of the chunk, t (N or 1, K, 1).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimeEmbedding(nn.Sequential):
    """t (..., 1) to (..., width): sines and cosines of 16 frequencies, two layers."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, np.log(100.0), 16)), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """The embedding."""
        phase = t * self.frequencies
        embedded = torch.cat([phase.sin(), phase.cos()], dim=-1)
        for layer in self:
            embedded = layer(embedded)
        return embedded


class Block(nn.Module):
    """A residual MLP block whose normalisation is scaled, shifted and gated by the condition (adaLN, Peebles and Xie 2022)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)
        self.modulation = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (N, ..., width), condition (N or 1, ..., width)."""
        scale, shift, gate = self.modulation(condition).chunk(3, dim=-1)
        hidden: Tensor = self.drop(F.silu(self.up(self.norm(x) * (1.0 + scale) + shift)))
        y: Tensor = x + (1.0 + gate) * self.down(hidden)
        return y


class MlpDenoiser(nn.Module):
    """Residual MLP blocks; the feature is the last hidden state (N, width)."""

    def __init__(self, size: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, size)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`condition` (B, width)."""
        modulation = F.silu(for_rows(condition, x) + self.time(t))
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden, modulation)
        feature = self.norm(hidden)
        return self.leave(feature), feature


def by_row(t: Tensor) -> Tensor:
    """t (N or 1, 1) or (N or 1, K, 1) as (N or 1, 1 or K, 1)."""
    return t if t.dim() == 3 else t[:, None]


def for_rows(condition: Tensor, x: Tensor) -> Tensor:
    """`condition` (B, width) once for each row of `x` (N, ...); a single one is left to broadcast."""
    return condition if len(condition) == 1 else condition.repeat(len(x) // len(condition), 1)
