"""CARP (Gong et al. 2025): coarse-to-fine autoregression. A chunk is told in S scales of 1, 2, ..., S tokens, each all at once.

Tokens: convolutions turn T rows into a latent f (S, C), and each scale quantises what the coarser ones left of it:

    r_k = nearest code to down_k(f - f_(k-1)),   f_k = f_(k-1) + up_k(r_k),   f_0 = 0,   chunk = decode(f_S),

learned by L = |chunk - decode|^2 + sum_k (0.25 |sg(f_k) - f|^2 + |f_k - sg(f)|^2) / S with straight-through gradients.
Autoregression: a transformer modulated by the condition reads down_k(f_(k-1)) for the tokens of scale k, each scale seeing itself
and those before, and is trained on the true tokens: p(r_1 | s) p(r_2 | r_1, s) ... A sample is S calls (`steps`) of the network.

What differs from the paper. Both parts are trained at once, the second on tokens as they are at the time. One token stands for
all joints, not one for each. "Nearest" is by distance; by cosine a long way is the same as a short one. Each scale has a code
book of its own: one set of fixed random codes under a learned matrix (SimVQ, Zhu et al. 2024), so that none falls out of use.
The paper always takes the likeliest token. Here, for candidates to differ, it is the largest of logits + noise_scale s z_v, where
z_v ~ N(0, 1) is the noise seen along code v and s = pi / sqrt(6) what makes that nearly a draw (perturb and maximise, Papandreou
and Yuille 2011); `noise_scale: 0` is the paper's.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.action_tokens import Tokenizer
from policies.denoiser import Block, for_rows
from policies.inpaint import Guide, as_is
from policies.transformer import Attention
from robot_stack.config.schema import PolicySettings

SPREAD = float(np.pi / np.sqrt(6.0))
"""Standard deviation of the Gumbel noise that would make the largest logit a draw."""


class CarpHead(nn.Module):
    """The head of `carp`, over rows. The feature is the mean hidden state of the last scale."""

    projection: Tensor
    mask: Tensor

    def __init__(self, rows: int, joints: int, settings: PolicySettings) -> None:
        super().__init__()
        width, self.scales, self.noise_scale = settings.width, settings.steps, settings.noise_scale
        self.rows, self.joints = rows, joints
        self.tokens = Tokenizer(rows, joints, self.scales, settings.codes, settings.code_size, width // 2)
        scale = torch.arange(1, self.scales + 1).repeat_interleave(torch.arange(1, self.scales + 1))
        self.enter = nn.Linear(settings.code_size, width)
        self.place = nn.Parameter(0.02 * torch.randn(len(scale), width))
        heads = (settings.heads, settings.head_size)
        self.attention = nn.ModuleList(Attention(width, *heads) for _ in range(settings.depth))
        self.blocks = nn.ModuleList(Block(width, settings.dropout) for _ in range(settings.depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, settings.codes)
        mask = torch.zeros(len(scale), len(scale)).masked_fill(scale[:, None] < scale, float("-inf"))
        self.register_buffer("mask", mask, persistent=False)
        projection = F.normalize(torch.randn(rows * joints, len(scale) * settings.code_size), dim=0)
        self.register_buffer("projection", projection)

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Rows (N, D), corrected by `guide`, and features (N, F), from `condition` and `noise` (N, D)."""
        e = self.noise_scale * SPREAD * torch.matmul(noise, self.projection).reshape(noise.shape[0], len(self.place), -1)
        f, seen, feature = self.tokens.nothing(noise), [], noise
        for scale, drawn in enumerate(torch.split(e, range_of(self.scales), dim=1)):
            seen.append(self.tokens.shrink(f, scale))
            hidden = self._read(condition, torch.cat(seen, dim=1))[:, -drawn.shape[1] :]
            codes = self.tokens.codes(scale)
            logits = self.leave(hidden) + torch.matmul(drawn, F.normalize(codes, dim=-1).T)
            f = f + self.tokens.widen(codes[logits.argmax(-1)], scale)
            feature = hidden.mean(1)
        return guide(self.tokens.decode(f)), feature

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Of the tokens, and the cross entropy of telling them; `modes` (N, D), whose repeats add nothing, `weight` (D,)."""
        modes = modes[: len(condition)]
        told, loss = self.tokens.learn(modes, weight)
        hidden = self._read(condition, torch.cat(told.seen, dim=1))
        return loss + F.cross_entropy(self.leave(hidden).float().flatten(0, 1), torch.cat(told.code, dim=1).flatten())

    def _read(self, condition: Tensor, seen: Tensor) -> Tensor:
        """Hidden states (N, A, width) of the first A tokens, which read `seen` (N, A, C)."""
        number = seen.shape[1]
        modulation = F.silu(for_rows(condition, seen))[:, None]
        hidden = self.enter(seen) + self.place[:number]
        for attention, block in zip(self.attention, self.blocks, strict=True):
            hidden = block(attention(hidden, modulation, mask=self.mask[:number, :number]), modulation)
        read: Tensor = self.norm(hidden)
        return read


def range_of(scales: int) -> list[int]:
    """Tokens of each scale: 1, 2, ..., S."""
    return list(range(1, scales + 1))
