"""Streaming Diffusion Policy (Hoeg, Du and Egeland 2024): rows that are due soon are clean, rows far ahead are noise still.

The T rows lie in h blocks. When a decision begins, rows of block b are at level (b + 1) N / h; it removes N / h levels of each in
`steps` calls of the network, which gets the level of every row; so soon rows are done and the others only get clearer, and a
decision costs 1/h of a diffusion from pure noise. The network is trained on such staircases, in between as well, and in a share
CONSTANT of the samples at one level for all rows.

The paper keeps the noisy rows in a buffer. A decision here is a function of its inputs, so the buffer is the plan that plays
(`Observation.plan`, with `run.seams=inpainted`): clean rows y, put back to their levels with the fixed noise,

    x_i = sqrt(a_k) y_i + sqrt(1 - a_k) e_i,   k the level of row i,

and rows ahead are told as the last call expects them to be. Rows that will have been played by then are at level 0: the plan's,
exactly, and all others are drawn with them in sight (`inpaint` is not needed). Without a plan all rows begin at the highest level
and go to 0 in the same number of larger steps: a graph that takes a branch could not be captured by CUDA.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from policies.diffusion import squared_cosine
from robot_stack.config.schema import PolicySettings

CONSTANT, TOP = 0.2, 0.95
"""Share of training at one level for all rows; and the highest level a network is asked at, of N: above it rows are noise."""


def level_table(rows: int, blocks: int, steps: int, levels: int) -> Tensor:
    """Levels (1 + T // 2, steps + 1, T), int64, of a decision that has 0 (no plan), 1, 2, ... rows given."""
    left = np.linspace(1.0, 0.0, steps + 1)[:, None]
    table = np.zeros((1 + rows // 2, steps + 1, rows))
    table[0] = TOP * left
    for given in range(1, len(table)):
        ahead = np.arange(rows - given)
        block = ahead * blocks // len(ahead)
        table[given, :, given:] = np.minimum((block + left) / blocks, TOP)
    return torch.from_numpy(np.round(table * levels).astype(np.int64))


class StreamingHead(nn.Module):
    """The head of `streaming`, over rows. The feature is that of the last call."""

    alpha: Tensor
    levels: Tensor

    def __init__(self, rows: int, joints: int, denoiser: nn.Module, settings: PolicySettings) -> None:
        super().__init__()
        self.denoiser, self.num_levels, self.blocks = denoiser, settings.noise_levels, settings.blocks
        self.rows, self.joints = rows, joints
        self.noise_scale, self.clip_sample = settings.noise_scale, settings.clip_sample
        schedule = [1.0, *squared_cosine(self.num_levels)]
        self.register_buffer("alpha", torch.tensor(schedule, dtype=torch.float32), persistent=False)
        self.register_buffer("levels", level_table(rows, self.blocks, settings.steps, self.num_levels), persistent=False)

    def sample(
        self, condition: Tensor, noise: Tensor, plan: Tensor | None = None, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows (N, D) and features (N, F), from `condition`, `noise` (N, D), `plan` (1, D) and its `levels` (steps + 1, T)."""
        levels = self.levels[0] if levels is None else levels
        clean, feature = noise * self.noise_scale, noise
        x = clean if plan is None else self._noisy(plan, clean, levels[0])
        for now, after in pairwise(levels.unbind(0)):
            a, b = self._alpha(now), self._alpha(after)
            e, feature = self.denoiser(x, self._times(now), condition)
            expected = ((x - (1.0 - a).sqrt() * e) / a.sqrt()).clamp(-self.clip_sample, self.clip_sample)
            clean = torch.where(a < 1.0, expected, x)
            e = (x - a.sqrt() * clean) / (1.0 - a).clamp(min=1e-6).sqrt()
            x = b.sqrt() * clean + (1.0 - b).sqrt() * e
        return clean, feature

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Squared error of the noise put on the rows `modes` (N, D), each at its level; `weight` (D,)."""
        level, noise = self.staircases(len(modes), modes.device), torch.randn_like(modes)
        a = self._alpha(level)
        e, _ = self.denoiser(a.sqrt() * modes + (1.0 - a).sqrt() * noise, self._times(level), condition)
        error: Tensor = e - noise
        return (error.square() * weight * (a < 1.0)).mean()

    def staircases(self, number: int, device: torch.device | None = None) -> Tensor:
        """Random levels (N, T) of training: some rows given, the others anywhere on their way, or all rows at one level."""
        given = torch.randint(self.rows // 2 + 1, (number, 1), device=device)
        on_the_way, constant, kind = torch.rand(3, number, 1, device=device)
        ahead = torch.arange(self.rows, device=device) - given
        block = torch.div(ahead * self.blocks, self.rows - given, rounding_mode="floor")
        stairs = torch.where(ahead < 0, 0.0, (block + 1.0 - on_the_way) / self.blocks)
        share = torch.where(kind < CONSTANT, 1.0 - constant, stairs)
        return (share * self.num_levels).ceil().long()

    def _noisy(self, plan: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """The plan at `level` (T,); rows at the highest one are noise, whatever is planned."""
        a = self._alpha(level)
        highest = int(TOP * self.num_levels)
        return torch.where(self._each(level) >= highest, noise, a.sqrt() * plan + (1.0 - a).sqrt() * noise)

    def _alpha(self, level: Tensor) -> Tensor:
        return self._each(self.alpha[level])

    def _each(self, value: Tensor) -> Tensor:
        """A value for each row (..., T) as one for each number of the rows (..., D)."""
        return value[..., None].expand(*value.shape, self.joints).flatten(-2)

    def _times(self, level: Tensor) -> Tensor:
        """Levels (N, T) or (T,) as the denoiser wants them: (N or 1, T, 1), 0..1."""
        return (level.reshape(-1, self.rows, 1) / self.num_levels).float()
