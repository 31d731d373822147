"""A policy over chunks of joint positions: an encoder, statistics, cosine modes, and a head that samples the modes.

A head lives in normalised cosine modes of the chunk relative to the current joints: low modes carry the motion, high modes are
small in the data and so stay small in every sample, which keeps chunks smooth. With `linear_prior` the modes are taken around a
ridge regression on the joints: with few episodes the network then learns only what pictures and curvature add. It is fitted in
closed form and costs one small matrix product. `streaming` and `carp` sample rows as they are (`basis: rows`).
Only `vla` reads the instruction; a bundle of any other head stores the one it was trained on and refuses the rest.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from policies.bc import BcHead
from policies.bc_rnn import BcRnnHead
from policies.carp import CarpHead
from policies.denoiser import MlpDenoiser
from policies.diffusion import DiffusionHead
from policies.encoder import ObservationEncoder
from policies.flow import FlowHead
from policies.flow_one_step import OneStepHead
from policies.inpaint import Guide, as_is, gains, guided
from policies.oppo import Wish
from policies.streaming import StreamingHead
from policies.transformer import TransformerDenoiser
from policies.unet import UNetDenoiser
from policies.vla import Prefix
from robot_stack.config.schema import PolicySettings

AHEAD, AHEAD_S = 3, 0.75
"""The training's auxiliary task looks so many times so far ahead."""

Head = FlowHead | OneStepHead | DiffusionHead | StreamingHead | BcHead | BcRnnHead | CarpHead


@dataclass(frozen=True)
class ChunkShape:
    """What the data fixes: number of joints J and the native size (H, W) of each camera's picture, in the order of the inputs."""

    num_joints: int
    cameras: tuple[tuple[str, tuple[int, int]], ...]


def cosine_modes(rows: int, modes: int) -> Tensor:
    """The first `modes` orthonormal cosine modes of `rows` samples (K, T), DCT-II."""
    k, i = np.arange(modes)[:, None], np.arange(rows)[None]
    basis = np.cos(np.pi * (i + 0.5) * k / rows) * np.sqrt(2.0 / rows)
    basis[0] /= np.sqrt(2.0)
    return torch.tensor(basis, dtype=torch.float32)


class ChunkPolicy(nn.Module):
    """The whole policy.

    Statistics are buffers, so that a checkpoint is complete: `joint_mean/std` (J,), `speed_std` (J,), `mode_mean/std` (K, J).
    """

    joint_mean: Tensor
    joint_std: Tensor
    speed_std: Tensor
    mode_mean: Tensor
    mode_std: Tensor
    prior: Tensor
    basis: Tensor

    def __init__(self, shape: ChunkShape, settings: PolicySettings) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        cosine = settings.basis == "cosine"
        self.num_modes = settings.modes or settings.rows if cosine else settings.rows
        joints = shape.num_joints
        self.size = (settings.image_height, settings.image_width)
        inputs = joints * (2 if settings.velocity else 1)
        self.encoder = _encoder(self.size, len(shape.cameras), inputs + settings.latent, settings)
        self.foresight = nn.Linear(self.encoder.num_seen, AHEAD * joints)
        self.head = _head(self.num_modes, joints, settings)
        self.wish = Wish(joints, settings.latent) if settings.latent else None
        basis = cosine_modes(settings.rows, self.num_modes) if cosine else torch.eye(settings.rows)
        self.register_buffer("basis", basis, persistent=False)
        for name, value in (
            ("joint_mean", torch.zeros(joints)),
            ("joint_std", torch.ones(joints)),
            ("speed_std", torch.ones(joints)),
        ):
            self.register_buffer(name, value)
        self.register_buffer("mode_mean", torch.zeros(self.num_modes, joints))
        self.register_buffer("prior", torch.zeros(inputs, self.num_modes * joints))
        self.register_buffer("mode_std", torch.ones(self.num_modes, joints))

    @property
    def num_features(self) -> int:
        """F: the width of the network that samples."""
        return self.settings.expert_width if self.settings.name == "vla" else self.settings.width

    def joint_inputs(self, q: Tensor, qd: Tensor | None) -> Tensor:
        """Normalised joints (B, D) of `q` (B, J) rad and, with `velocity`, of speeds `qd` (B, J) rad/s, squashed beyond 3 std."""
        joints = (q - self.joint_mean) / self.joint_std
        return joints if qd is None else torch.cat([joints, torch.tanh(qd / (3.0 * self.speed_std)) * 3.0], dim=-1)

    def encode(self, pictures: list[Tensor], joints: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Condition (B, ...) of resized pictures (B, h, w, 3), joint_inputs (B, D) and, for `vla`, instruction bytes (B, L)."""
        condition: Tensor = self.encoder(self.encoder.look(pictures), self.wishing(joints), tokens)
        return condition

    def wishing(self, joints: Tensor, paths: Tensor | None = None) -> Tensor:
        """joint_inputs (B, D) and, where there are any, wishes (B, d): those of `paths`, or the best (`oppo`)."""
        if self.wish is None:
            return joints
        wishes = self.wish.best.expand(len(joints), -1) if paths is None else self.wish(paths)
        return torch.cat([joints, wishes], dim=-1)

    def centre(self, joints: Tensor) -> Tensor:
        """Modes (B, K, J) expected from joint_inputs (B, D) alone, linearly; what the head samples is the rest."""
        return self.mode_mean + torch.matmul(joints, self.prior).reshape(-1, self.num_modes, self.shape.num_joints)

    def to_modes(self, delta: Tensor, centre: Tensor) -> Tensor:
        """Chunk relative to the joints (..., T, J) rad to normalised modes (..., K, J) around `centre`."""
        return (torch.matmul(self.basis, delta) - centre) / self.mode_std

    def to_delta(self, modes: Tensor, centre: Tensor) -> Tensor:
        """The way back: normalised modes (..., K, J) to the chunk relative to the joints (..., T, J) rad."""
        return torch.matmul(self.basis.T, modes * self.mode_std + centre)

    def gains(self) -> Tensor:
        """What a decision with 0 (no plan), 1, 2, ... given rows passes to `sample`: `inpaint`'s (1 + T // 2, J, K, T), or the
        noise levels (1 + T // 2, steps + 1, T) of `streaming`."""
        if isinstance(self.head, StreamingHead):
            return self.head.levels
        return torch.tensor(gains(self.basis.double().numpy(), self.mode_std.double().numpy()), dtype=torch.float32)

    def sample(
        self, condition: Tensor, centre: Tensor, noise: Tensor, plan: Tensor | None = None, gain: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Relative chunks (N, T, J) rad and features (N, F).

        `condition` (1 or N, ...), `centre` (1 or N, K, J), `noise` (N, T, J); `plan` (T, J) rad relative to the joints, and its
        one of `gains`: what the chunks go on from.
        """

        def to_rows(modes: Tensor) -> Tensor:
            return self.to_delta(modes.reshape(-1, self.num_modes, self.shape.num_joints), centre)

        flat = noise[:, : self.num_modes].flatten(1)
        if isinstance(self.head, StreamingHead):
            buffer = None if plan is None else self.to_modes(plan, centre).flatten(1)
            x, feature = self.head.sample(condition, flat, buffer, gain)
        else:
            guide: Guide = as_is if plan is None or gain is None else guided(gain, plan, to_rows)
            x, feature = self.head.sample(condition, flat, guide)
        return to_rows(x), feature

    def foreseen(self, seen: Tensor) -> Tensor:
        """Normalised joints (B, AHEAD, J) at the next multiples of AHEAD_S, from pictures alone: only training asks."""
        pooled = seen.mean(1) if seen.dim() == 3 else seen
        guess: Tensor = self.foresight(torch.relu(pooled))
        return guess.reshape(len(seen), AHEAD, self.shape.num_joints)

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """The head's loss of normalised modes (R B, K, J) under `condition` (B, ...); `weight` (K, J) per mode and joint."""
        return self.head.loss(condition, modes.flatten(1), weight.flatten())


def _encoder(size: tuple[int, int], cameras: int, inputs: int, settings: PolicySettings) -> ObservationEncoder | Prefix:
    if settings.name == "vla":
        return Prefix(size, cameras, inputs, settings)
    return ObservationEncoder(size, cameras, inputs, settings)


def _head(modes: int, joints: int, settings: PolicySettings) -> Head:
    match settings.name:
        case "bc":
            return BcHead(modes * joints, settings)
        case "bc_rnn":
            return BcRnnHead(modes, joints, settings)
        case "carp":
            return CarpHead(modes, joints, settings)
        case "flow_one_step":
            return OneStepHead(_denoiser(modes, joints, settings), settings)
        case "diffusion":
            return DiffusionHead(_denoiser(modes, joints, settings), settings)
        case "streaming":
            return StreamingHead(modes, joints, _denoiser(modes, joints, settings), settings)
        case _:
            return FlowHead(_denoiser(modes, joints, settings), settings)


def _denoiser(modes: int, joints: int, settings: PolicySettings) -> nn.Module:
    """`vla` has the transformer with a cache, the expert; the others choose."""
    kind = "expert" if settings.name == "vla" else settings.denoiser
    width, depth, heads = settings.width, settings.depth, (settings.heads, settings.head_size)
    match kind:
        case "expert":
            return TransformerDenoiser(modes, joints, settings.expert_width, depth, *heads, settings.dropout)
        case "transformer":
            return TransformerDenoiser(modes, joints, width, depth, *heads, settings.dropout)
        case "unet":
            return UNetDenoiser(modes, joints, width)
        case _:
            return MlpDenoiser(modes * joints, width, depth, settings.dropout)
