"""Rectified flow (Liu et al. 2022, "Flow Straight and Fast").

x_0 ~ N(0, I), x_1 the demonstrated chunk, x_t = (1-t) x_0 + t x_1, the network learns v(x_t, t, c) = x_1 - x_0; a sample is
``steps`` Euler steps from t = 0 to 1, unrolled.
"""

import torch
from torch import Tensor, nn

from policies.inpaint import Guide, as_is
from robot_stack.config.schema import PolicySettings


class FlowHead(nn.Module):
    """The head of `flow` and of `vla`."""

    def __init__(self, denoiser: nn.Module, settings: PolicySettings) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.steps, self.noise_scale = settings.steps, settings.noise_scale

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Modes (N, D) and features (N, F) of the last step, from `condition` and `noise` (N, D).

        `guide` corrects x_t + (1-t) v, the end that the velocity points at.
        """
        x, feature = noise * self.noise_scale, noise
        for step in range(self.steps):
            t = x.new_full((1, 1), step / self.steps)
            velocity, feature = self.denoiser(x, t, condition)
            rest = 1.0 - step / self.steps
            clean = x + rest * velocity
            x = x + (velocity + (guide(clean) - clean) / rest) / self.steps
        return x, feature

    def loss(self, condition: Tensor, x_1: Tensor, weight: Tensor) -> Tensor:
        """Flow-matching loss of modes `x_1` (N, D); `weight` (D,)."""
        x_0 = torch.randn_like(x_1)
        t = torch.rand(len(x_1), 1, device=x_1.device)
        velocity, _ = self.denoiser(torch.lerp(x_0, x_1, t), t, condition)
        error: Tensor = velocity - (x_1 - x_0)
        return (error.square() * weight).mean()
