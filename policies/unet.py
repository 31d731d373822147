"""The 1-D temporal U-Net of Diffusion Policy (Chi et al. 2023), one level down: convolutions along the rows of the chunk.

Each block is modulated by condition and time (FiLM). It is meant for `basis: rows`; a convolution over cosine modes means little.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.denoiser import TimeEmbedding, by_row, for_rows
from robot_stack.errors import PolicyError

GROUPS, KERNEL = 8, 5


class ConvBlock(nn.Module):
    """Two convolutions along time, each with GroupNorm and SiLU; between them scale and shift by the condition; residual."""

    def __init__(self, enter: int, leave: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(enter, leave, KERNEL, padding=KERNEL // 2)
        self.second = nn.Conv1d(leave, leave, KERNEL, padding=KERNEL // 2)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, leave) for _ in range(2))
        self.film = nn.Linear(width, 2 * leave)
        self.skip = nn.Conv1d(enter, leave, 1)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x (N, enter, T), `modulation` (N or 1, 1 or T, width)."""
        scale, shift = self.film(modulation).transpose(1, 2).chunk(2, dim=1)
        hidden = F.silu(self.norms[0](self.first(x))) * (1.0 + scale) + shift
        y: Tensor = self.skip(x) + F.silu(self.norms[1](self.second(hidden)))
        return y


class UNetDenoiser(nn.Module):
    """T rows of J joints down to T / 2 and back; the feature is the mean over time of the narrow part (N, width)."""

    def __init__(self, rows: int, joints: int, width: int) -> None:
        super().__init__()
        if rows % 2 or width % (2 * GROUPS):
            raise PolicyError(
                f"denoiser unet: found {rows} rows, width {width}; allowed an even number, and a multiple of {2 * GROUPS}"
            )
        self.rows, self.joints = rows, joints
        self.time = TimeEmbedding(width)
        self.down = ConvBlock(joints, width // 2, width)
        self.halve = nn.Conv1d(width // 2, width // 2, 3, stride=2, padding=1)
        self.narrow = nn.ModuleList([ConvBlock(width // 2, width, width), ConvBlock(width, width, width)])
        self.widen = nn.ConvTranspose1d(width, width // 2, 4, stride=2, padding=1)
        self.up = ConvBlock(width, width // 2, width)
        self.leave = nn.Conv1d(width // 2, joints, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`x` (N, T * J), `condition` (B, width)."""
        modulation = F.silu(for_rows(condition, x)[:, None] + self.time(by_row(t)))
        wide = self.down(x.reshape(-1, self.rows, self.joints).transpose(1, 2), modulation)
        hidden = self.halve(wide)
        for block in self.narrow:
            hidden = block(hidden, modulation[:, ::2])
        y = self.leave(self.up(torch.cat([wide, self.widen(hidden)], dim=1), modulation))
        return y.transpose(1, 2).flatten(1), hidden.mean(dim=-1)
