"""Chunks as residual tokens in several scales: the vector-quantised autoencoder of `carp`, which has the maths."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.encoder import area_weights
from robot_stack.errors import PolicyError

KERNEL = 5
COMMIT = 0.25
"""Weight of drawing the latent to its codes, against drawing the codes to it (van den Oord et al. 2017)."""


class Told(NamedTuple):
    """Of each scale k: `seen` down_k(f_(k-1)) (N, k, C), `code` that was nearest (N, k), and `latent` f_k (N, C, S)."""

    seen: list[Tensor]
    code: list[Tensor]
    latent: list[Tensor]


class Tokenizer(nn.Module):
    """T rows of J joints to S (S + 1) / 2 tokens and back.

    Raises PolicyError unless T is S, halved once or more times.
    """

    fixed: Tensor

    def __init__(self, rows: int, joints: int, scales: int, codes: int, size: int, width: int) -> None:
        super().__init__()
        halvings = (rows // scales).bit_length() - 1
        if rows != scales << halvings or halvings < 1:
            raise PolicyError(f"policy.steps: found {scales} scales for {rows} rows, allowed {rows} halved once or more times")
        self.rows, self.joints, self.scales, self.size = rows, joints, scales, size
        down, up = [], []
        for _ in range(halvings):
            down += [nn.SiLU(), nn.Conv1d(width, width, 4, stride=2, padding=1)]
            up += [nn.ConvTranspose1d(width, width, 4, stride=2, padding=1), nn.SiLU()]
        first, last = (nn.Conv1d(*ends, KERNEL, padding=KERNEL // 2) for ends in ((joints, width), (width, joints)))
        self.enter = nn.Sequential(first, *down, nn.SiLU(), nn.Conv1d(width, size, 1))
        self.leave = nn.Sequential(nn.Conv1d(size, width, 1), *up, last)
        self.register_buffer("fixed", torch.randn(codes, size))
        self.books = nn.ParameterList(0.5 ** (k + 1) * torch.eye(size) for k in range(scales))
        for k in range(1, scales + 1):
            self.register_buffer(f"down_{k}", area_weights(scales, k), persistent=False)
            widened = F.interpolate(torch.eye(k)[None], size=scales, mode="linear")[0]
            self.register_buffer(f"up_{k}", widened, persistent=False)

    def codes(self, scale: int) -> Tensor:
        """The code book (V, C) of `scale`, counted from 0."""
        return torch.matmul(self.fixed, self.books[scale])

    def nothing(self, x: Tensor) -> Tensor:
        """f_0 (N, C, S) for `x` (N, ...)."""
        return x.new_zeros(x.shape[0], self.size, self.scales)

    def shrink(self, f: Tensor, scale: int) -> Tensor:
        """down_k: the means (N, k, C) of `f` (N, C, S) over k equal parts."""
        return torch.matmul(self.get_buffer(f"down_{scale + 1}"), f.transpose(1, 2))

    def widen(self, codes: Tensor, scale: int) -> Tensor:
        """up_k: `codes` (N, k, C) stretched linearly to (N, C, S)."""
        return torch.matmul(codes.transpose(1, 2), self.get_buffer(f"up_{scale + 1}"))

    def encode(self, rows: Tensor) -> Tensor:
        """The latent f (N, C, S) of `rows` (N, T * J)."""
        f: Tensor = self.enter(rows.reshape(-1, self.rows, self.joints).transpose(1, 2))
        return f

    def decode(self, f: Tensor) -> Tensor:
        """Rows (N, T * J) of a latent (N, C, S)."""
        rows: Tensor = self.leave(f)
        return rows.transpose(1, 2).flatten(1)

    def quantise(self, f: Tensor) -> Told:
        """The tokens of a latent (N, C, S), scale after scale; gradients reach the code books only."""
        told, so_far = Told([], [], []), torch.zeros_like(f)
        for scale in range(self.scales):
            codes, left = self.codes(scale), self.shrink(f.detach() - so_far.detach(), scale)
            index = torch.cdist(left, codes.detach()[None]).argmin(-1)
            told.seen.append(self.shrink(so_far.detach(), scale))
            so_far = so_far + self.widen(codes[index], scale)
            told.code.append(index)
            told.latent.append(so_far)
        return told

    def learn(self, rows: Tensor, weight: Tensor) -> tuple[Told, Tensor]:
        """Tokens of `rows` (N, D), and the loss that makes them say more; in full precision, `weight` (D,)."""
        with torch.autocast(rows.device.type, enabled=False):
            f = self.encode(rows)
            told = self.quantise(f)
            missed = torch.stack([COMMIT * F.mse_loss(f, g.detach()) + F.mse_loss(g, f.detach()) for g in told.latent])
            again = self.decode(f + (told.latent[-1] - f).detach())
            return told, ((again - rows).square() * weight).mean() + missed.mean()
