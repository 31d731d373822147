"""Episodes as what a critic learns from: state, chunk, what it earned, and the state it led to.

The state is what a policy has made of its observation: its condition (tokens averaged) and its joint inputs. The chunk is its
lowest cosine modes relative to the joints, so that a critic judges the motion and not the noise on its rows.
"""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from policies.chunk_policy import ChunkPolicy, cosine_modes
from policies.frames import Frames, frames_of
from policies.riql import Transitions
from robot_stack.config.schema import CriticSettings
from robot_stack.data.earned import rewards
from robot_stack.data.episode import Episode
from robot_stack.types import Array

BATCH = 128


def observed(condition: Tensor, joints: Tensor) -> Tensor:
    """The critic's state (B, S) of a policy's condition (B, ..., C) and joint inputs (B, D)."""
    pooled = condition.flatten(1, -2).mean(1) if condition.dim() > 2 else condition
    return torch.cat([pooled, joints], dim=-1)


def modes_of(basis: Tensor, delta: Tensor) -> Tensor:
    """The critic's action (N, K J) of chunks relative to the joints (N, T, J); `basis` (K, T)."""
    return torch.matmul(basis, delta).flatten(1)


def transitions_of(policy: ChunkPolicy, episode: Episode, settings: CriticSettings) -> Transitions:
    """One for each sample of `episode`, as `policy` sees it. Raises DataError where nothing says what it earned."""
    shape = policy.settings
    frames = frames_of([episode], shape)
    s = states_of(policy, frames)
    basis = cosine_modes(shape.rows, min(settings.modes, shape.rows))
    steps = max(1, round(shape.rows * episode.rate_hz / shape.rate_hz))
    discount = settings.discount ** (shape.rate_hz / episode.rate_hz)
    per_step = rewards(episode, settings.reward)
    r, left, after = n_step(per_step, steps, discount)
    earned = n_step(per_step, len(per_step), discount)[0]
    a = modes_of(basis, frames.chunk - frames.q[:, None])
    return Transitions(s, a, _float(r), _float(left), s[torch.from_numpy(after)], _float(earned))


def n_step(earned: Array, steps: int, discount: float) -> tuple[Array, Array, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Of rewards `earned` (n,): what the next `steps` earn, discounted; the discount of what follows, 0 past the end; its row."""
    n = len(earned)
    padded = np.concatenate([earned, np.zeros(steps)])
    r = np.stack([padded[i : i + n] * discount**i for i in range(steps)]).sum(axis=0)
    after = np.arange(n) + steps
    return r, np.where(after < n, discount**steps, 0.0), np.minimum(after, n - 1)


def together(parts: Sequence[Transitions]) -> Transitions:
    """All of `parts`, one after the other."""
    return Transitions(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Transitions)))


@torch.no_grad()
def states_of(policy: ChunkPolicy, frames: Frames) -> Tensor:
    """The critic's state (M, S) of each of `frames`, which were made by the settings of `policy`."""
    found = []
    for rows in torch.split(torch.arange(len(frames)), BATCH):
        joints = policy.joint_inputs(frames.q[rows], frames.qd[rows] if policy.settings.velocity else None)
        pictures = [p[rows].float() for p in frames.pictures]
        found.append(observed(policy.encode(pictures, joints, frames.tokens[rows]), joints))
    return torch.cat(found)


def _float(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))
