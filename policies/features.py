"""TACO's high-fidelity feature search (arXiv 2512.02834): the generator never sees clean actions, so features mustn't either.

For every demonstrated sample, M chunks are drawn with the true sampler and one fixed noise bank; the feature of the chunk
nearest the expert's (L2 over normalised modes) is kept. On those features, one a sample, the pseudo-count network is trained.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from policies.checkpoint import load_checkpoint
from policies.frames import frames_of
from policies.held_out import sample_at
from robot_stack.data.episode import Episode
from robot_stack.types import Array


def features_of(checkpoint: Path, episodes: Sequence[Episode], samples: int = 32, stride: int = 1, seed: int = 42) -> Array:
    """Features (M, F), float32, of every `stride`-th sample of `episodes`. Raises PolicyError on an unreadable checkpoint."""
    policy, card = load_checkpoint(checkpoint)
    frames = frames_of(episodes, card.settings)
    bank = torch.randn(samples, *frames.chunk.shape[1:], generator=torch.Generator().manual_seed(seed))
    kept = []
    with torch.inference_mode():
        for i in tqdm(range(0, len(frames), stride), desc="features", unit="frame"):
            delta, features = sample_at(policy, frames, i, bank)
            expert = frames.chunk[i] - frames.q[i]
            nearest = policy.to_modes(delta - expert, policy.mode_mean * 0.0).square().sum((1, 2)).argmin()
            kept.append(features[nearest].numpy())
    return np.stack(kept)
