"""How far a policy's chunks are from those of episodes it was not trained on: while it is trained, and at the end."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policies.chunk_policy import ChunkPolicy
from policies.frames import Frames, frames_of
from robot_stack.data.episode import Episode

HELD_OUT = 64
"""So many samples of the episodes held out are looked at whenever the run is saved."""


@torch.no_grad()
def one_chunk_error(policy: ChunkPolicy, frames: Frames) -> float:
    """Mean absolute error (rad) of one chunk at each of up to HELD_OUT samples, spread evenly: cheap enough to see it develop."""
    at = torch.linspace(0, len(frames) - 1, min(HELD_OUT, len(frames))).long()
    noise = torch.randn(len(at), *frames.chunk.shape[1:], generator=torch.Generator().manual_seed(0))
    joints = policy.joint_inputs(frames.q[at], frames.qd[at] if policy.settings.velocity else None)
    condition = policy.encode([p[at].float() for p in frames.pictures], joints, frames.tokens[at])
    sampled, _ = policy.sample(condition, policy.centre(joints), noise)
    return float((sampled - (frames.chunk[at] - frames.q[at][:, None])).abs().mean())


@torch.no_grad()
def holdout_figures(policy: ChunkPolicy, episodes: Sequence[Episode], stride: int = 5) -> dict[str, float]:
    """Mean absolute error (rad) over every `stride`-th sample: of one chunk, of the mean of 16, of holding the pose."""
    if not episodes:
        return {}
    frames = frames_of(episodes, policy.settings)
    noise = torch.randn(16, *frames.chunk.shape[1:], generator=torch.Generator().manual_seed(0))
    one, mean, hold = [], [], []
    for i in range(0, len(frames), stride):
        delta = frames.chunk[i] - frames.q[i]
        sampled, _ = sample_at(policy, frames, i, noise)
        one.append(float((sampled[0] - delta).abs().mean()))
        mean.append(float((sampled.mean(0) - delta).abs().mean()))
        hold.append(float(delta.abs().mean()))
    return {"one": float(np.mean(one)), "mean_of_16": float(np.mean(mean)), "hold": float(np.mean(hold))}


@torch.no_grad()
def sample_at(policy: ChunkPolicy, frames: Frames, index: int, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Relative chunks (N, T, J) rad and features (N, F) that `policy` draws at sample `index` from `noise` (N, T, J)."""
    part = slice(index, index + 1)
    joints = policy.joint_inputs(frames.q[part], frames.qd[part] if policy.settings.velocity else None)
    condition = policy.encode([p[part].float() for p in frames.pictures], joints, frames.tokens[part])
    return policy.sample(condition, policy.centre(joints), noise)
