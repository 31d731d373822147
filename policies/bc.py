"""Behaviour cloning: an MLP on the condition, with one mean or a mixture of Gaussians over the whole chunk (BC and BC-GMM of
robomimic, Mandlekar et al. 2021, there over single actions).

A candidate is drawn by its noise e (N, D) alone: the share z = sqrt(D) mean(e) ~ N(0, 1) picks the component where Phi(z) falls,
and e - mean(e), independent of z, is the Gaussian's. With one mean all candidates are alike.
The network never sees what is drawn, so the feature for TACO is its hidden state plus a fixed random projection of the draw.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.inpaint import Guide, as_is
from robot_stack.config.schema import PolicySettings

STD_MIN = 0.05
"""The least standard deviation of a component, in those of the data: hundreds of dimensions overfit with robomimic's 1e-4."""


class BcHead(nn.Module):
    """The head of `bc`: `mixture` components, or with 0 the mean alone."""

    projection: Tensor

    def __init__(self, size: int, settings: PolicySettings) -> None:
        super().__init__()
        width, self.size, self.num_components = settings.width, size, settings.mixture
        self.noise_scale = settings.noise_scale
        layers = [nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Dropout(settings.dropout)) for _ in range(settings.depth)]
        self.trunk = nn.Sequential(nn.SiLU(), *layers, nn.LayerNorm(width))
        self.leave = nn.Linear(width, self.num_components * (2 * size + 1) or size)
        self.register_buffer("projection", torch.randn(size, width) * size**-0.5)

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Modes (N, D), corrected by `guide`, and features (N, F), from `condition` (1 or N, width) and `noise` (N, D)."""
        hidden = self.trunk(condition)
        if not self.num_components:
            modes = self.leave(hidden) + 0.0 * noise
        else:
            mean, std, log_share = self._mixture(hidden)
            middle = noise.mean(dim=1, keepdim=True)
            place = 0.5 + 0.5 * torch.erf(middle * (noise.shape[1] / 2.0) ** 0.5)
            which = (place > log_share.exp().cumsum(-1)[:, :-1]).sum(-1, keepdim=True)
            chosen = (which == torch.arange(self.num_components)).to(noise.dtype)[..., None]
            modes = (chosen * mean).sum(1) + (chosen * std).sum(1) * (noise - middle) * self.noise_scale
        modes = guide(modes)
        return modes, hidden + torch.matmul(modes, self.projection)

    def _mixture(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means and standard deviations (B, M, D), logarithms of the shares (B, M)."""
        number = self.num_components
        share, mean, std = self.leave(hidden).float().split([number, number * self.size, number * self.size], dim=-1)
        mean, std = mean.unflatten(-1, (number, -1)), std.unflatten(-1, (number, -1))
        return mean, F.softplus(std) + STD_MIN, torch.log_softmax(share, dim=-1)

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Weighted squared error, or negative log-likelihood a dimension, of `modes` (N, D): their repeats would add nothing."""
        modes, hidden = modes[: len(condition)], self.trunk(condition)
        if not self.num_components:
            error: Tensor = self.leave(hidden) - modes
            return (error.square() * weight).mean()
        mean, std, log_share = self._mixture(hidden)
        inside = -0.5 * ((modes[:, None] - mean) / std).square() - std.log()
        return -torch.logsumexp(log_share + inside.sum(-1), dim=-1).mean() / modes.shape[1]
