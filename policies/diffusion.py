"""Diffusion (DDPM, Ho et al. 2020) over chunks, sampled by DDIM (Song et al. 2021), as in Diffusion Policy (Chi et al. 2023).

x_k = sqrt(a_k) x + sqrt(1 - a_k) e, with the squared-cosine schedule a_k of Nichol and Dhariwal 2021; the network learns e.
``steps`` evenly spaced levels are removed one after the other, without fresh noise; the clean chunk e implies is clipped, because
dividing by a small sqrt(a_k) blows errors up, and e is taken again from what was clipped.
"""

import numpy as np
import torch
from torch import Tensor, nn

from policies.inpaint import Guide, as_is
from robot_stack.config.schema import PolicySettings
from robot_stack.types import Array


class DiffusionHead(nn.Module):
    """The head of `diffusion`."""

    alpha: Tensor

    def __init__(self, denoiser: nn.Module, settings: PolicySettings) -> None:
        super().__init__()
        self.denoiser, self.levels, self.steps = denoiser, settings.noise_levels, settings.steps
        self.noise_scale, self.clip_sample = settings.noise_scale, settings.clip_sample
        self.schedule = squared_cosine(self.levels)
        self.register_buffer("alpha", torch.tensor(self.schedule, dtype=torch.float32), persistent=False)

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Modes (N, D) and features (N, F) of the last step, from `condition` and `noise` (N, D); `guide` corrects `clean`."""
        stride = self.levels // self.steps
        x, feature = noise * self.noise_scale, noise
        for level in range(stride * (self.steps - 1), -1, -stride):
            a, after = self.schedule[level], self.schedule[level - stride] if level else 1.0
            e, feature = self.denoiser(x, x.new_full((1, 1), level / self.levels), condition)
            clean = ((x - (1.0 - a) ** 0.5 * e) / a**0.5).clamp(-self.clip_sample, self.clip_sample)
            clean = guide(clean)
            e = (x - a**0.5 * clean) / (1.0 - a) ** 0.5
            x = after**0.5 * clean + (1.0 - after) ** 0.5 * e
        return x, feature

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Squared error of the noise put on `modes` (N, D); `weight` (D,)."""
        level, noise = torch.randint(self.levels, (len(modes), 1), device=modes.device), torch.randn_like(modes)
        a = self.alpha[level]
        e, _ = self.denoiser(a.sqrt() * modes + (1.0 - a).sqrt() * noise, level / self.levels, condition)
        error: Tensor = e - noise
        return (error.square() * weight).mean()


def squared_cosine(levels: int) -> list[float]:
    """a_k for k = 0 .. levels - 1: products of 1 - beta, beta at most 0.999."""
    f: Array = np.cos((np.arange(levels + 1) / levels + 0.008) / 1.008 * np.pi / 2.0) ** 2
    return [float(a) for a in np.cumprod(1.0 - np.minimum(1.0 - f[1:] / f[:-1], 0.999))]
