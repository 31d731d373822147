"""Preferences without a reward between: what an episode was like becomes a wish, and the best wish is learned from preferences.

    z(tau) = I(tau) in R^d                       tau: the rows of an episode, by a GRU; the policy is trained as pi(. | s, z(tau))
    L_pref = max(0, |z* - z(tau+)| - |z* - z(tau-)| + m)        tau+ is preferred to tau-: m = MARGIN; both alike: m = 0
    L = L_policy + PREFERENCE L_pref + NORM mean (|z| - 1)^2

On the robot the wish is z*, a constant of the exported graph. OPPO (Kang et al. 2023, offline preference-guided policy
optimisation); constants of its code. There z* has a step size of its own, 1e-2: here it is PACE times a parameter, which with
Adam is the same. An episode is preferred to another when the column `train.preferences` has the larger mean in it: success, a
reward learned from what people preferred (`robot-stack relabel`), or anything else a label says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from policies.recorded import labelled
from robot_stack.data.episode import Episode
from robot_stack.types import Array

MARGIN, PREFERENCE, NORM, PACE = 1.0, 10.0, 0.1, 20.0
ROWS, WIDTH = 32, 64
"""An episode is looked at in so many rows, by so many units."""


class Wish(nn.Module):
    """I and z*, for J joints and wishes of d numbers."""

    def __init__(self, joints: int, latent: int) -> None:
        super().__init__()
        self.rows = nn.GRU(2 * joints, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, latent)
        self.slow = nn.Parameter(torch.zeros(latent))

    @property
    def best(self) -> Tensor:
        """z* (d,)."""
        return PACE * self.slow

    def forward(self, paths: Tensor) -> Tensor:
        """z (B, d) of `paths` (B, ROWS, 2 J)."""
        wishes: Tensor = self.out(self.rows(paths)[1][0])
        return wishes

    def loss(self, liked: Tensor, other: Tensor, margin: Tensor) -> Tensor:
        """Mean over pairs of paths (B, ROWS, 2 J), the first preferred by `margin` (B,)."""
        near, far = self.forward(liked), self.forward(other)
        behind = (near - self.best).norm(dim=-1) - (far - self.best).norm(dim=-1) + margin
        length: Tensor = torch.cat([near, far]).norm(dim=-1)
        return PREFERENCE * torch.relu(behind).mean() + NORM * (length - 1.0).square().mean()


@dataclass(frozen=True, eq=False)
class Paths:
    """E episodes: `rows` (E, ROWS, 2 J), joints and actions, standardised; `score` (E,); `of` (M,): each sample's episode."""

    rows: Tensor
    score: Tensor
    of: Tensor

    def pairs(self, size: int, dice: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """`size` random pairs of episodes: liked, other (B, ROWS, 2 J), margin (B,)."""
        one, two = torch.randint(len(self.score), (2, size), generator=dice)
        first = self.score[one] >= self.score[two]
        liked, other = torch.where(first, one, two), torch.where(first, two, one)
        return self.rows[liked], self.rows[other], MARGIN * (self.score[one] != self.score[two]).float()


def paths_of(episodes: Sequence[Episode], preferences: str) -> Paths:
    """The episodes with the mean of the column `preferences` as score. Raises PolicyError where one lacks it, or a number."""
    values = labelled(episodes, preferences, "train.preferences")
    rows = np.stack([_rows(episode) for episode in episodes])
    standard = (rows - rows.mean((0, 1))) / np.maximum(rows.std((0, 1)), 1e-3)
    of = np.repeat(np.arange(len(episodes)), [len(episode) for episode in episodes])
    score = torch.tensor([float(np.mean(value)) for value in values])
    return Paths(torch.tensor(standard, dtype=torch.float32), score, torch.from_numpy(of))


def _rows(episode: Episode) -> Array:
    at = np.linspace(0, len(episode) - 1, ROWS).round().astype(int)
    return np.concatenate([episode.q[at], episode.action[at]], axis=1)
