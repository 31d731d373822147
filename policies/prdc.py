"""A policy with one mean that may leave the data only where Q and the data itself go: PRDC (Ran et al. 2023).

    L = |mu(s) - a_nn|^2 - lambda Q(s, mu(s)),     lambda = alpha / mean |Q|
    a_nn: the action of the recorded (beta s_i, a_i) nearest to (beta s, mu(s))

Behaviour cloning pulls towards the action recorded in this very state (it is beta -> infinity), and where two were recorded
towards their mean, which nobody ever did; here the policy is pulled to the nearest action that was done in a state like this,
whichever Q prefers of them. Pictures are shifted and joints jolted as in cloning: a_nn is what leads on from there.

Neighbours are found by a k-d tree over standardised pairs. Where the authors train a TD3 critic beside the actor, ours is the one
of `riql.py`, learned before by `robot-stack relabel critic` and asked through its pessimistic quantile; s is what that critic
looks at, the condition of the policy it was learned with. The first term is the loss of the policy's own head, on the whole chunk
of the neighbour, of which the critic judges the lowest modes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from policies.bundle import sha256_of
from policies.checkpoint import WEIGHTS, Card, load_checkpoint
from policies.chunk_policy import ChunkPolicy, cosine_modes
from policies.critic import CRITIC, Critic, load_critic
from policies.frames import frames_of
from policies.loader import Batch
from policies.transitions import modes_of, states_of
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError


class Nearest:
    """Recorded standardised states (M, S) and actions (M, A), searched together."""

    def __init__(self, s: Tensor, a: Tensor, beta: float) -> None:
        self._beta, self._tree = beta, KDTree(torch.cat([beta * s, a], dim=1).double().numpy())

    def __call__(self, s: Tensor, a: Tensor) -> Tensor:
        """The row (N,) of the recorded pair nearest to each of (s, a)."""
        _, rows = self._tree.query(torch.cat([self._beta * s, a], dim=1).detach().cpu().double().numpy())
        return torch.from_numpy(np.asarray(rows)).to(s.device)


@dataclass(frozen=True, eq=False)
class Prdc:
    """`critic`, and of every frame of the training what it sees, `s` (M, S), standardised, and the `chunk` (M, T, J) that was
    done, relative to the joints; `basis` (K, T) of the modes it judges; `sha256` of the critic's file."""

    critic: Critic
    s: Tensor
    chunk: Tensor
    basis: Tensor
    nearest: Nearest
    alpha: float
    sha256: str

    def loss(self, policy: ChunkPolicy, condition: Tensor, centre: Tensor, batch: Batch, q: Tensor, weight: Tensor) -> Tensor:
        """L over the batch, whose joints are seen as `q` (B, J) rad; `weight` (K, J) as in the head's loss."""
        jolt = (q - batch.q)[:, None]
        mean, _ = policy.sample(condition, centre, torch.zeros_like(batch.chunk))
        s, z = self.s[batch.rows], self.critic.actions(modes_of(self.basis, mean + jolt))
        there = policy.to_modes(self.chunk[self.nearest(s, z)] - jolt, centre)
        score = self.critic.score(s, z)
        scale = self.alpha / score.detach().abs().mean().clamp(min=1e-6)
        return policy.loss(condition, there, weight) - scale * score.mean()


def prdc_of(episodes: Sequence[Episode], settings: PolicySettings, train: TrainSettings, device: torch.device) -> Prdc:
    """What `train.prdc` asks for, for a training on `episodes`.

    Raises PolicyError for a policy without one mean, without a critic in that folder, and where the critic does not fit.
    """
    if settings.name != "bc" or settings.mixture:
        raise PolicyError(
            f"train.prdc: found policy {settings.name} with mixture {settings.mixture}, allowed bc with mixture 0: what is "
            "pulled to the data is one mean; next: policy=bc policy.mixture=0"
        )
    critic, policy, card = _learned(Path(train.prdc))
    _check(card, settings, episodes)
    frames, rows = frames_of(episodes, policy.settings), settings.rows
    s, chunk = critic.states(states_of(policy, frames)), frames.chunk - frames.q[:, None]
    basis = cosine_modes(rows, min(critic.settings.modes, rows))
    nearest = Nearest(s, critic.actions(modes_of(basis, chunk)), train.prdc_beta)
    there = (critic.to(device), s.to(device), chunk.to(device), basis.to(device))
    return Prdc(*there, nearest, train.prdc_alpha, sha256_of(Path(train.prdc) / CRITIC))


def _learned(folder: Path) -> tuple[Critic, ChunkPolicy, Card]:
    """The critic in `folder`, and the policy it sees with."""
    critic, about = load_critic(folder)
    seen_by = Path(about.get("checkpoint", ""))
    policy, card = load_checkpoint(seen_by)
    if (found := sha256_of(seen_by / WEIGHTS)) != (meant := about.get("sha256", "")):
        raise PolicyError(
            f"train.prdc: found weights {found[:12]} in {seen_by}, allowed {meant[:12]}, with which the critic in {folder} was "
            f"learned; next: robot-stack relabel critic critic.checkpoint={seen_by} critic.out={folder}"
        )
    return critic, policy, card


def _check(card: Card, settings: PolicySettings, episodes: Sequence[Episode]) -> None:
    theirs = (card.settings.rows, card.settings.rate_hz, card.joint_names, tuple(name for name, _ in card.cameras))
    ours = (settings.rows, settings.rate_hz, episodes[0].joint_names, tuple(sorted(episodes[0].images)))
    if ours != theirs:
        raise PolicyError(
            f"train.prdc: found policy.rows, policy.rate_hz, joints, cameras {ours}, allowed those the critic judges, {theirs}"
        )
