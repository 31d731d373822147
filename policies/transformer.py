"""A transformer over the modes of a chunk, one token a mode; alone a denoiser, and with a cache the action expert of `vla`.

As a denoiser it is modulated by condition and time (adaLN, Peebles and Xie 2022). As an expert (pi0, Black et al. 2024) only time
modulates it, and layer l attends to its own tokens and to the keys and values that layer l of the prefix left in the cache.
A cache of one observation serves all candidates without a copy: to it their queries are one long sequence.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.denoiser import Block, TimeEmbedding, by_row, for_rows


class Attention(nn.Module):
    """Multi-head attention of tokens (N, A, width), modulated by (N or 1, 1 or A, width), to themselves and to a cache."""

    def __init__(self, width: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, head_size
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.project = nn.Linear(width, 3 * heads * head_size)
        self.gather = nn.Linear(heads * head_size, width)
        self.modulation = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, modulation: Tensor, cache: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """`cache` (B, 2, heads, S, head_size): keys and values, or None; `mask` (A, A): 0, or -inf where it may not look."""
        scale, shift, gate = self.modulation(modulation).chunk(3, dim=-1)
        q, k, v = split_heads(self.project(self.norm(x) * (1.0 + scale) + shift), self.heads)
        scores = torch.matmul(q, k.transpose(-1, -2))
        if mask is not None:
            scores = scores + mask
        if cache is not None:
            scores = torch.cat([scores, _over(q, cache[:, 0].transpose(-1, -2))], dim=-1)
        share = torch.softmax(scores * self.head_size**-0.5, dim=-1)
        seen = torch.matmul(share[..., : x.shape[1]], v)
        if cache is not None:
            seen = seen + _over(share[..., x.shape[1] :], cache[:, 1])
        y: Tensor = x + (1.0 + gate) * self.gather(seen.transpose(1, 2).flatten(2))
        return y


def split_heads(projected: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (N, heads, A, head_size) of a projection (N, A, 3 * heads * head_size)."""
    q, k, v = projected.reshape(*projected.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


def _over(rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows` (N, H, A, a) times `matrix` (B, H, a, b), N = R B: (N, H, A, b), the R rows of one observation at once."""
    batch, (heads, tokens, size) = len(matrix), rows.shape[1:]
    folded = rows.reshape(-1, batch, heads, tokens, size).permute(1, 2, 0, 3, 4).reshape(batch, heads, -1, size)
    product = torch.matmul(folded, matrix).reshape(batch, heads, -1, tokens, matrix.shape[-1])
    return product.permute(2, 0, 1, 3, 4).reshape(-1, heads, tokens, matrix.shape[-1])


class TransformerDenoiser(nn.Module):
    """K tokens of J joints; the feature is the last hidden state of the first token (N, width)."""

    def __init__(self, modes: int, joints: int, width: int, depth: int, heads: int, head_size: int, dropout: float) -> None:
        super().__init__()
        self.modes, self.joints = modes, joints
        self.time = TimeEmbedding(width)
        self.enter = nn.Linear(joints, width)
        self.place = nn.Parameter(0.02 * torch.randn(modes, width))
        self.attention = nn.ModuleList(Attention(width, heads, head_size) for _ in range(depth))
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, joints)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`x` (N, K * J); `condition` a vector (B, width), or the cache of a prefix (B, depth, 2, heads, S, head_size)."""
        cached, time = condition.dim() > 2, self.time(by_row(t))
        modulation = F.silu(time if cached else for_rows(condition, x)[:, None] + time)
        hidden = self.enter(x.reshape(-1, self.modes, self.joints)) + self.place
        for layer, (attention, block) in enumerate(zip(self.attention, self.blocks, strict=True)):
            hidden = block(attention(hidden, modulation, condition[:, layer] if cached else None), modulation)
        feature = self.norm(hidden)
        return self.leave(feature).flatten(1), feature[:, 0]
