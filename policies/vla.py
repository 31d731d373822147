"""The prefix of `vla`: squares of all pictures, bytes of the instruction and the joints through one transformer, once a decision.

As in pi0 (Black et al. 2024) the action expert never reaches back into it: the prefix leaves keys and values of every layer, and
`transformer.TransformerDenoiser` attends to them at every step of the flow, for all candidates. Unlike pi0 nothing is
pretrained, an instruction is read byte by byte (padding is a byte like any other, 0), and the joints are part of the prefix.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.transformer import split_heads
from robot_stack.config.schema import PolicySettings
from robot_stack.errors import PolicyError


class PrefixLayer(nn.Module):
    """Pre-norm self-attention and an MLP, residual; also says its keys and values."""

    def __init__(self, width: int, heads: int, head_size: int, spread: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.project = nn.Linear(width, 3 * heads * head_size)
        self.gather = nn.Linear(heads * head_size, width)
        self.up, self.down = nn.Linear(width, spread * width), nn.Linear(spread * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, S, width) to the next ones, and keys and values (B, 2, heads, S, head_size)."""
        q, k, v = split_heads(self.project(self.norms[0](x)), self.heads)
        share = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5, dim=-1)
        x = x + self.drop(self.gather(torch.matmul(share, v).transpose(1, 2).flatten(2)))
        x = x + self.drop(self.down(F.silu(self.up(self.norms[1](x)))))
        return x, torch.stack([k, v], dim=1)


class Prefix(nn.Module):
    """Pictures of all cameras, instruction and joints to a cache (B, depth, 2, heads, S, head_size).

    Raises PolicyError where `patch` does not divide the pictures.
    """

    def __init__(self, size: tuple[int, int], num_cameras: int, num_joint_inputs: int, settings: PolicySettings) -> None:
        super().__init__()
        patch, width = settings.patch, settings.width
        if any(side % patch for side in size):
            raise PolicyError(f"policy.patch: found {patch} for pictures of {size}, allowed a divisor of both sides")
        self.num_seen, squares = width, num_cameras * (size[0] // patch) * (size[1] // patch)
        self.cut = nn.Conv2d(3, width, patch, stride=patch)
        self.words = nn.Embedding(257, width)
        self.joints = nn.Linear(num_joint_inputs, width)
        self.place = nn.Parameter(0.02 * torch.randn(squares + settings.tokens + 1, width))
        self.layers = nn.ModuleList(
            PrefixLayer(width, settings.heads, settings.head_size, settings.spread, settings.dropout)
            for _ in range(settings.depth)
        )

    def look(self, pictures: list[Tensor]) -> Tensor:
        """The squares of all pictures (B, squares, width). `pictures`: one float (B, h, w, 3), 0..255, per camera."""
        cut = [self.cut(picture.permute(0, 3, 1, 2) / 127.5 - 1.0) for picture in pictures]
        return torch.cat([squares.flatten(2).transpose(1, 2) for squares in cut], dim=1)

    def forward(self, seen: Tensor, joints: Tensor, tokens: Tensor) -> Tensor:
        """The cache of what was `look`ed at, normalised joints (B, D) and instruction bytes (B, L), int64."""
        x = torch.cat([seen, self.words(tokens), self.joints(joints)[:, None]], dim=1) + self.place
        caches = []
        for layer in self.layers:
            x, cache = layer(x)
            caches.append(cache)
        return torch.stack(caches, dim=1)
