"""The training set: one row per recorded sample, numbers in memory, pictures already resized, still uint8, where they lie.

Pictures of a dataset that were decoded into mapped files stay there, resized ones in files beside them: memory does not grow with
their number.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.chunk_policy import AHEAD, AHEAD_S, ChunkPolicy, ChunkShape
from policies.encoder import Resize
from policies.instruction import byte_tokens
from policies.oppo import Paths, paths_of
from policies.recorded import check_alike, chunks, column, velocities
from robot_stack.config.schema import PolicySettings
from robot_stack.data.episode import Episode
from robot_stack.data.picture_cache import digest_of, kept
from robot_stack.types import Image


class Pictures:
    """Pictures (n, h, w, 3) uint8 of several episodes, numbered as one; nothing is copied before it is asked for."""

    def __init__(self, pieces: Sequence[Image]) -> None:
        self.pieces = pieces
        self.starts = [0, *accumulate(len(piece) for piece in pieces)]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Those of `rows`, uint8 (B, h, w, 3)."""
        wanted = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        return torch.from_numpy(np.stack([self._one(row) for row in wanted]))

    def _one(self, row: int) -> Image:
        piece = bisect_right(self.starts, row) - 1
        one: Image = self.pieces[piece][row - self.starts[piece]]
        return one


@dataclass(frozen=True, eq=False)
class Frames:
    """M samples: `pictures` uint8 (M, h, w, 3) of each camera, `q` and `qd` (M, J), `chunk` (M, T, J) absolute, rad.

    `ahead` (M, AHEAD, J): the action at the next multiples of AHEAD_S; `tokens` (M, L): bytes of the instruction. `odds` (M,):
    how often each is drawn, in proportion (None: all alike). `paths`: the episodes as wishes, where preferences are learned from.
    """

    pictures: tuple[Pictures, ...]
    q: Tensor
    qd: Tensor
    chunk: Tensor
    ahead: Tensor
    tokens: Tensor
    odds: Tensor | None = None
    paths: Paths | None = None

    def __len__(self) -> int:
        return len(self.q)


def shape_of(episodes: Sequence[Episode], one_instruction: bool = True) -> ChunkShape:
    """Joints and cameras (sorted by name) of `episodes`. Raises PolicyError where they, or the instructions, differ."""
    check_alike(episodes, one_instruction)
    sizes = {name: images.shape[1:3] for name, images in episodes[0].images.items()}
    cameras = tuple((name, (int(height), int(width))) for name, (height, width) in sorted(sizes.items()))
    return ChunkShape(len(episodes[0].joint_names), cameras)


def frames_of(episodes: Sequence[Episode], settings: PolicySettings, weights: str = "", preferences: str = "") -> Frames:
    """All samples of `episodes` in order; their odds are the column `weights`. Raises PolicyError where that cannot be."""
    shape = shape_of(episodes, settings.tokens == 0)
    size = (settings.image_height, settings.image_width)
    pictures = tuple(
        Pictures([_resized(e.images[name], Resize(native, size), size) for e in episodes]) for name, native in shape.cameras
    )
    return Frames(
        pictures,
        _float(np.concatenate([e.q for e in episodes])),
        _float(np.concatenate([velocities(e) for e in episodes])),
        _float(np.concatenate([chunks(e, settings.rows, settings.rate_hz) for e in episodes])),
        _float(np.concatenate([chunks(e, AHEAD + 1, 1.0 / AHEAD_S)[:, 1:] for e in episodes])),
        torch.cat([_tokens(e, settings.tokens) for e in episodes]),
        torch.from_numpy(column(episodes, weights)) if weights else None,
        paths_of(episodes, preferences) if preferences else None,
    )


def _tokens(episode: Episode, length: int) -> Tensor:
    spelt = byte_tokens(episode.instruction, length) if length else np.zeros(0, np.int64)
    return torch.from_numpy(spelt).expand(len(episode), length)


def _float(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def _resized(images: Image, resize: Resize, size: tuple[int, int]) -> Image:
    """`images` themselves where they have the size; of a mapped file the resized ones are kept in a file beside it."""
    if resize.same:
        return images
    if not isinstance(images, np.memmap) or images.filename is None:
        return _resize(images, resize)
    file = Path(images.filename).with_name(f"{digest_of(images)}-{size[0]}x{size[1]}.npy")
    return kept(file, lambda: _resize(images, resize))


def _resize(images: Image, resize: Resize) -> Image:
    parts = torch.split(torch.from_numpy(np.array(images)), 64)
    resized: Image = torch.cat([resize(part).round().to(torch.uint8) for part in parts]).numpy()
    return resized


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
