"""A rectified-flow policy over chunks of joint positions (Liu et al. 2022, "Flow Straight and Fast").

x_0 ~ N(0, I), x_1 the demonstrated chunk, x_t = (1-t) x_0 + t x_1, the network learns v(x_t, t, c) = x_1 - x_0; a sample is
``steps`` Euler steps from t = 0 to 1, unrolled. x lives in normalised cosine modes of the chunk relative to the current joints:
low modes carry the motion, high modes are small in the data and so stay small in every sample, which keeps chunks smooth.
With `linear_prior` the modes are taken around a ridge regression on the joints: with few episodes the network then learns only
what pictures and curvature add. It is fitted in closed form and costs one small matrix product.
The instruction is not an input yet: the bundle stores the one it was trained on and refuses any other. Tokens will join the
condition.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.encoder import ObservationEncoder
from robot_stack.config.schema import PolicySettings

AHEAD, AHEAD_S = 3, 0.75
"""The training's auxiliary task looks so many times so far ahead."""


@dataclass(frozen=True)
class FlowShape:
    """What the data fixes: number of joints J and the native size (H, W) of each camera's picture, in the order of the inputs."""

    num_joints: int
    cameras: tuple[tuple[str, tuple[int, int]], ...]


def cosine_modes(rows: int, modes: int) -> Tensor:
    """The first `modes` orthonormal cosine modes of `rows` samples (K, T), DCT-II."""
    k, i = np.arange(modes)[:, None], np.arange(rows)[None]
    basis = np.cos(np.pi * (i + 0.5) * k / rows) * np.sqrt(2.0 / rows)
    basis[0] /= np.sqrt(2.0)
    return torch.tensor(basis, dtype=torch.float32)


class Block(nn.Module):
    """A residual MLP block whose normalisation is scaled, shifted and gated by the condition (adaLN, Peebles and Xie 2022)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)
        self.modulation = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (N, width), condition (N or 1, width)."""
        scale, shift, gate = self.modulation(condition).chunk(3, dim=-1)
        hidden: Tensor = self.drop(F.silu(self.up(self.norm(x) * (1.0 + scale) + shift)))
        y: Tensor = x + (1.0 + gate) * self.down(hidden)
        return y


class Denoiser(nn.Module):
    """The velocity field v(x_t, t, c) over flat modes (N, D), and the hidden state it was read from: TACO's feature h."""

    frequencies: Tensor

    def __init__(self, size: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, np.log(100.0), 16)), persistent=False)
        self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, size)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`t` (N or 1, 1), `condition` (N or 1, width): velocity (N, D) and feature (N, width)."""
        phase = t * self.frequencies
        modulation = F.silu(condition + self.time(torch.cat([phase.sin(), phase.cos()], dim=-1)))
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden, modulation)
        feature = self.norm(hidden)
        return self.leave(feature), feature


class FlowPolicy(nn.Module):
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

    def __init__(self, shape: FlowShape, settings: PolicySettings) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        self.num_modes = settings.modes or settings.rows
        joints = shape.num_joints
        self.size = (settings.image_height, settings.image_width)
        inputs = joints * (2 if settings.velocity else 1)
        self.encoder = ObservationEncoder(
            self.size, len(shape.cameras), inputs, settings.keypoints, settings.width, settings.dropout
        )
        self.foresight = nn.Linear(self.encoder.num_seen, AHEAD * joints)
        self.denoiser = Denoiser(self.num_modes * joints, settings.width, settings.depth, settings.dropout)
        self.register_buffer("basis", cosine_modes(settings.rows, self.num_modes), persistent=False)
        for name, value in (
            ("joint_mean", torch.zeros(joints)),
            ("joint_std", torch.ones(joints)),
            ("speed_std", torch.ones(joints)),
        ):
            self.register_buffer(name, value)
        self.register_buffer("mode_mean", torch.zeros(self.num_modes, joints))
        self.register_buffer("prior", torch.zeros(inputs, self.num_modes * joints))
        self.register_buffer("mode_std", torch.ones(self.num_modes, joints))

    def joint_inputs(self, q: Tensor, qd: Tensor | None) -> Tensor:
        """Normalised joints (B, D) of `q` (B, J) rad and, with `velocity`, of speeds `qd` (B, J) rad/s, squashed beyond 3 std."""
        joints = (q - self.joint_mean) / self.joint_std
        return joints if qd is None else torch.cat([joints, torch.tanh(qd / (3.0 * self.speed_std)) * 3.0], dim=-1)

    def encode(self, pictures: list[Tensor], joints: Tensor) -> Tensor:
        """Condition (B, width) of resized pictures (B, h, w, 3) and joint_inputs (B, D)."""
        condition: Tensor = self.encoder(self.encoder.look(pictures), joints)
        return condition

    def centre(self, joints: Tensor) -> Tensor:
        """Modes (B, K, J) expected from joint_inputs (B, D) alone, linearly; what the flow samples is the rest."""
        return self.mode_mean + torch.matmul(joints, self.prior).reshape(-1, self.num_modes, self.shape.num_joints)

    def to_modes(self, delta: Tensor, centre: Tensor) -> Tensor:
        """Chunk relative to the joints (..., T, J) rad to normalised modes (..., K, J) around `centre`."""
        return (torch.matmul(self.basis, delta) - centre) / self.mode_std

    def to_delta(self, modes: Tensor, centre: Tensor) -> Tensor:
        """The way back: normalised modes (..., K, J) to the chunk relative to the joints (..., T, J) rad."""
        return torch.matmul(self.basis.T, modes * self.mode_std + centre)

    def sample(self, condition: Tensor, centre: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Relative chunks (N, T, J) rad and features (N, width) of the last step.

        `condition` (1 or N, width), `centre` (1 or N, K, J), `noise` (N, T, J).
        """
        steps = self.settings.steps
        x = noise[:, : self.num_modes].flatten(1) * self.settings.noise_scale
        for step in range(steps):
            t = torch.full((1, 1), step / steps)
            velocity, feature = self.denoiser(x, t, condition)
            x = x + velocity / steps
        return self.to_delta(x.reshape(-1, self.num_modes, self.shape.num_joints), centre), feature

    def foreseen(self, seen: Tensor) -> Tensor:
        """Normalised joints (B, AHEAD, J) at the next multiples of AHEAD_S, from pictures alone: only training asks."""
        guess: Tensor = self.foresight(torch.relu(seen))
        return guess.reshape(len(seen), AHEAD, self.shape.num_joints)

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Flow-matching loss of normalised modes (B, K, J) under `condition` (B, width); `weight` (K, J) per mode and joint."""
        x_1 = modes.flatten(1)
        x_0 = torch.randn_like(x_1)
        t = torch.rand(len(x_1), 1)
        velocity, _ = self.denoiser(torch.lerp(x_0, x_1, t), t, condition)
        error: Tensor = velocity - (x_1 - x_0)
        return (error.square() * weight.flatten()).mean()
