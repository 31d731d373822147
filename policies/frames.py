"""The training set in memory: one row per recorded sample, pictures already resized, still uint8."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from policies.chunk_policy import AHEAD, AHEAD_S, ChunkPolicy, ChunkShape
from policies.encoder import Resize
from policies.instruction import byte_tokens
from policies.recorded import check_alike, chunks, column, velocities
from robot_stack.config.schema import PolicySettings
from robot_stack.data.episode import Episode


@dataclass(frozen=True, eq=False)
class Frames:
    """M samples: `pictures` one uint8 (M, h, w, 3) per camera, `q` and `qd` (M, J), `chunk` (M, T, J) absolute, rad.

    `ahead` (M, AHEAD, J): the action at the next multiples of AHEAD_S; `tokens` (M, L): bytes of the instruction. `odds` (M,):
    how often each is drawn, in proportion (None: all alike).
    """

    pictures: tuple[Tensor, ...]
    q: Tensor
    qd: Tensor
    chunk: Tensor
    ahead: Tensor
    tokens: Tensor
    odds: Tensor | None = None

    def __len__(self) -> int:
        return len(self.q)


def shape_of(episodes: Sequence[Episode], one_instruction: bool = True) -> ChunkShape:
    """Joints and cameras (sorted by name) of `episodes`. Raises PolicyError where they, or the instructions, differ."""
    check_alike(episodes, one_instruction)
    sizes = {name: images.shape[1:3] for name, images in episodes[0].images.items()}
    cameras = tuple((name, (int(height), int(width))) for name, (height, width) in sorted(sizes.items()))
    return ChunkShape(len(episodes[0].joint_names), cameras)


def frames_of(episodes: Sequence[Episode], settings: PolicySettings, weights: str = "") -> Frames:
    """All samples of `episodes` in order; their odds are the column `weights`. Raises PolicyError where that cannot be."""
    shape = shape_of(episodes, settings.tokens == 0)
    size = (settings.image_height, settings.image_width)
    pictures = tuple(
        torch.cat([_resized(e.images[name], Resize(native, size)) for e in episodes]) for name, native in shape.cameras
    )
    return Frames(
        pictures,
        _float(np.concatenate([e.q for e in episodes])),
        _float(np.concatenate([velocities(e) for e in episodes])),
        _float(np.concatenate([chunks(e, settings.rows, settings.rate_hz) for e in episodes])),
        _float(np.concatenate([chunks(e, AHEAD + 1, 1.0 / AHEAD_S)[:, 1:] for e in episodes])),
        torch.cat([_tokens(e, settings.tokens) for e in episodes]),
        torch.from_numpy(column(episodes, weights)) if weights else None,
    )


def _tokens(episode: Episode, length: int) -> Tensor:
    spelt = byte_tokens(episode.instruction, length) if length else np.zeros(0, np.int64)
    return torch.from_numpy(spelt).expand(len(episode), length)


def _float(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def _resized(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], resize: Resize) -> Tensor:
    whole = torch.from_numpy(np.array(images))
    if resize.same:
        return whole
    return torch.cat([resize(part).round().to(torch.uint8) for part in torch.split(whole, 64)])


def set_statistics(policy: ChunkPolicy, frames: Frames) -> Tensor:
    """Fill the policy's buffers from `frames`; returns the loss weight (K, J).

    Every joint counts alike, but for joints that hardly move; within a joint a mode counts by its size.
    """
    modes = torch.matmul(policy.basis, frames.chunk - frames.q[:, None])
    policy.joint_mean.copy_(frames.q.mean(0))
    policy.joint_std.copy_(frames.q.std(0).clamp(min=1e-3))
    policy.speed_std.copy_(frames.qd.std(0).clamp(min=1e-3))
    policy.mode_mean.copy_(modes.mean(0))
    inputs = policy.joint_inputs(frames.q, frames.qd if policy.settings.velocity else None)
    if policy.settings.linear_prior > 0.0:
        policy.prior.copy_(_ridge(inputs, (modes - policy.mode_mean).flatten(1), policy.settings.linear_prior))
    policy.mode_std.copy_((modes - policy.centre(inputs)).std(0).clamp(min=1e-4))
    largest = policy.mode_std.amax(0, keepdim=True)
    weight = policy.mode_std / largest * (largest / (largest + 0.01))
    return weight / weight.mean()


def _ridge(inputs: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """Weights (D, K * J) of a ridge regression; `penalty` is per sample, on inputs of mean 0 and std about 1."""
    x, y = inputs.double(), targets.double()
    gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(gram, x.T @ y)
    return weights.float()
