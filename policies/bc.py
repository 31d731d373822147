"""Behaviour cloning: an MLP on the condition, with one mean or a mixture of Gaussians over the whole chunk (BC and BC-GMM of
robomimic, Mandlekar et al. 2021, there over single actions).

With one mean all candidates are alike; of the mixture each is drawn by its noise alone (`mixture`). robomimic's least standard
deviation, 1e-4, is for single actions: over the hundreds of dimensions of a chunk it overfits, hence `std_min` 0.05 here.
The network never sees what is drawn, so the feature for TACO is its hidden state plus a fixed random projection of the draw.
"""

import torch
from torch import Tensor, nn

from policies.inpaint import Guide, as_is
from policies.mixture import draw, log_likelihood, mixture_of, width_of
from robot_stack.config.schema import PolicySettings


class BcHead(nn.Module):
    """The head of `bc`: `mixture` components, or with 0 the mean alone."""

    projection: Tensor

    def __init__(self, size: int, settings: PolicySettings) -> None:
        super().__init__()
        width, self.num_components = settings.width, settings.mixture
        self.noise_scale, self.std_min = settings.noise_scale, settings.std_min
        layers = [nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Dropout(settings.dropout)) for _ in range(settings.depth)]
        self.trunk = nn.Sequential(nn.SiLU(), *layers, nn.LayerNorm(width))
        self.leave = nn.Linear(width, width_of(self.num_components, size) or size)
        self.register_buffer("projection", torch.randn(size, width) * size**-0.5)

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Modes (N, D), corrected by `guide`, and features (N, F), from `condition` (1 or N, width) and `noise` (N, D)."""
        hidden = self.trunk(condition)
        if not self.num_components:
            modes = self.leave(hidden) + 0.0 * noise
        else:
            modes = draw(mixture_of(self.leave(hidden), self.num_components, self.std_min), noise, self.noise_scale)
        modes = guide(modes)
        return modes, hidden + torch.matmul(modes, self.projection)

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Weighted squared error, or negative log-likelihood a dimension, of `modes` (N, D): their repeats would add nothing."""
        modes, hidden = modes[: len(condition)], self.trunk(condition)
        if not self.num_components:
            error: Tensor = self.leave(hidden) - modes
            return (error.square() * weight).mean()
        mixture = mixture_of(self.leave(hidden), self.num_components, self.std_min)
        return -log_likelihood(mixture, modes).mean() / modes.shape[1]
