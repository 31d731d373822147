"""A mixture of Gaussians: drawn by noise alone, so that who draws stays a function of its inputs.

The noise e ~ N(0, I) of D numbers is split: the share z = sqrt(D) mean(e) ~ N(0, 1) picks the component where Phi(z) falls among
the shares, and e - mean(e), independent of z and stretched to variance 1, is the Gaussian's. One direction of D is spent on the
choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Mixture(NamedTuple):
    """`mean` and `std` (B, M, D), `log_share` (B, M) of M components."""

    mean: Tensor
    std: Tensor
    log_share: Tensor


def width_of(number: int, size: int) -> int:
    """How many numbers describe `number` components over `size` dimensions."""
    return number * (2 * size + 1)


def mixture_of(described: Tensor, number: int, std_min: float) -> Mixture:
    """The mixture a network's output (B, width_of(M, D)) stands for: std by softplus, never below `std_min`."""
    size = (described.shape[-1] // number - 1) // 2
    share, mean, std = torch.split(described.float(), [number, number * size, number * size], dim=-1)
    mean, std = mean.reshape(-1, number, size), F.softplus(std.reshape(-1, number, size)) + std_min
    return Mixture(mean, std, torch.log_softmax(share, dim=-1))


def draw(mixture: Mixture, noise: Tensor, scale: float) -> Tensor:
    """One draw (N, D) for each row of `noise` (N, D); `scale` of the spread inside a component (0: its mean)."""
    size = noise.shape[1]
    middle = noise.mean(dim=1, keepdim=True)
    place = 0.5 + 0.5 * torch.erf(middle * (size / 2.0) ** 0.5)
    which = (place > mixture.log_share.exp().cumsum(-1)[:, :-1]).sum(-1, keepdim=True)
    chosen = (which == torch.arange(mixture.mean.shape[1], device=noise.device)).to(noise.dtype)[..., None]
    spread = (noise - middle) * (size / max(size - 1, 1)) ** 0.5
    drawn: Tensor = (chosen * mixture.mean).sum(1) + (chosen * mixture.std).sum(1) * spread * scale
    return drawn


def log_likelihood(mixture: Mixture, x: Tensor) -> Tensor:
    """log p(x) (B,) of `x` (B, D), without the constant D log(2 pi) / 2."""
    inside = -0.5 * ((x[:, None] - mixture.mean) / mixture.std).square() - mixture.std.log()
    return torch.logsumexp(mixture.log_share + inside.sum(-1), dim=-1)
