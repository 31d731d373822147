"""The selector that takes the candidate with the largest Q, after it made each of them a little better.

PA-RL (Mark et al. 2024): of N samples of the policy keep those with the largest Q, take a few steps along the gradient of the
ensemble's mean, keep the best seen of each, and take the best of all. EXPO (2507.07986): an edit policy e(s, a) learns to
maximise Q(s, a + beta e), and the best of the samples and the edited samples is taken; theirs is stochastic, to explore, ours
is only ever used offline and has no noise.

    u' = u + (bound / steps) g / max(|g|, |A g|),   g = A' dQ/dz at z + A u,   u = 0 at first, `steps` times
    u* = argmax of Q_alpha(s, z + A u) over all u seen;   a + m B' S u*;   A = S^-1 B diag(m) B' S

with B the modes, S their standard deviations, and m (T,) the freedom of each row: 1, so that A = I, but with a plan to go on from
(`inpaint`) 0 for the rows that are given, which come out as they went in bit for bit, and 1 - w after them.

Where this differs: a step has a fixed length, so no candidate goes further than `bound` from what the policy wanted, however
steep Q is; the best is judged by the pessimistic quantile, not by the mean that was climbed; and all N are improved rather than
the best ten, which costs nothing with a critic of this size. What gains less than `MARGIN` of the spread of Q is taken in
proportion, so that no rounding decides and all engines agree.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from policies.checkpoint import load_checkpoint
from policies.chunk_policy import cosine_modes
from policies.critic import Critic
from policies.inpaint import freedom
from policies.riql import Learned, Transitions, fit
from policies.transitions import modes_of, observed, together, transitions_of
from robot_stack.config.schema import CriticSettings, QRankSettings
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError

MARGIN = 0.01


class QRank(nn.Module):
    """What the exported graph asks: chunks relative to the joints (N, T, J) to better ones and their Q (N,)."""

    basis: Tensor
    freedom: Tensor
    figures: Mapping[str, float]
    """How the critic learned, for the manifest."""

    def __init__(self, critic: Critic, rows: int, settings: QRankSettings, spread: float, edit: nn.Module | None = None) -> None:
        """`spread`: the standard deviation of Q over the data; `edit`: of standardised state and action (N, S + A) to (N, A)."""
        super().__init__()
        self.critic, self.steps, self.bound, self.beta, self.edit = critic, settings.steps, settings.bound, settings.edit, edit
        self.margin, self.figures = MARGIN * max(spread, 1e-6), {}
        self.register_buffer("basis", cosine_modes(rows, min(critic.settings.modes, rows)), persistent=False)
        self.register_buffer("freedom", torch.tensor(freedom(rows), dtype=torch.float32), persistent=False)

    def judged(self, condition: Tensor, joints: Tensor, delta: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """`condition` (1, ..., C) and `joints` (1, D) as the policy has them, `delta` (N, T, J) rad, `given` (1,) of its rows."""
        s = self.critic.states(observed(condition, joints))
        z = self.critic.actions(modes_of(self.basis, delta))
        m = self.freedom[given]
        u, q = self.improved(s, z, torch.matmul(self.basis * m, self.basis.T))
        return delta + m[0, :, None] * torch.matmul(self.basis.T, self._modes(u * self.critic.a_std)), q

    def improved(self, s: Tensor, z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """u* (N, A) and its Q_alpha (N,); `s` (1 or N, S) and `z` (N, A) standardised, `kept` (K, K): B diag(m) B'."""
        std = self.critic.a_std
        best = u = torch.zeros_like(z)
        q, slope = self.critic.climb(s, z)
        for _ in range(self.steps):
            g = torch.matmul(kept, self._modes(slope / std)).flatten(1) * std
            length = torch.maximum(g.norm(dim=1, keepdim=True), self._moved(kept, g).norm(dim=1, keepdim=True))
            u = u + g * (self.bound / self.steps / (length + self.margin))
            found, slope = self.critic.climb(s, z + self._moved(kept, u))
            best, q = self._better(best, q, u, found)
        if self.edit is not None:
            edited = self.beta * self.edit(_both(s, z))
            best, q = self._better(best, q, edited, self.critic.score(s, z + self._moved(kept, edited)))
        return best, self.critic.score(s, z + self._moved(kept, best))

    def _moved(self, kept: Tensor, u: Tensor) -> Tensor:
        """A u (N, A)."""
        return torch.matmul(kept, self._modes(u * self.critic.a_std)).flatten(1) / self.critic.a_std

    def _modes(self, flat: Tensor) -> Tensor:
        """(N, A) as (N, K, J)."""
        return flat.reshape(flat.shape[0], self.basis.shape[0], -1)

    def _better(self, best: Tensor, q: Tensor, other: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """`other` where its Q `found` is larger than `q` by the margin, `best` where it is not larger, else a point between."""
        gate = ((found - q) / self.margin).clamp(0.0, 1.0)
        return torch.lerp(best, other, gate[:, None]), torch.lerp(q, found, gate)


def train_q_rank(checkpoint: Path, episodes: Sequence[Episode], settings: QRankSettings) -> QRank:
    """The selector for the policy in `checkpoint`, its critic learned on what it makes of `episodes`, some of them held out.

    Raises DataError where nothing says what an episode earned (`q_rank.critic.reward`), PolicyError where there is too little.
    """
    policy, card = load_checkpoint(checkpoint)
    learned, data = train_critic([transitions_of(policy, e, settings.critic) for e in episodes], settings.critic)
    edit = _train_edit(learned.critic, data, settings) if settings.edit > 0.0 else None
    spread = float(learned.critic.value(data.s, data.a).std())
    selector = QRank(learned.critic, card.settings.rows, settings, spread, edit).eval().requires_grad_(False)
    selector.figures = learned.figures
    return selector


def train_critic(episodes: Sequence[Transitions], settings: CriticSettings) -> tuple[Learned, Transitions]:
    """A critic of `episodes`, a drawn share of which only judges it; and all that it was fitted to."""
    if len(episodes) < 2:
        raise PolicyError(f"critic: found {len(episodes)} episodes, allowed 2 or more; record more")
    order = np.random.default_rng(settings.seed).permutation(len(episodes))
    count = min(round(settings.holdout * len(episodes)), len(episodes) - 1)
    data = together([episodes[i] for i in sorted(order[count:])])
    held = together([episodes[i] for i in sorted(order[:count])]) if count else None
    return fit(data, held, settings), data


def _train_edit(critic: Critic, data: Transitions, settings: QRankSettings) -> nn.Module:
    """e(s, z) in (-1, 1)^A that maximises the mean of Q(s, z + beta e) over the data, for as many steps as the critic took."""
    learning, width = critic.settings, critic.settings.width
    s, z = critic.states(data.s), critic.actions(data.a)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learning.seed)
        edit = nn.Sequential(
            nn.Linear(s.shape[1] + z.shape[1], width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, z.shape[1]), nn.Tanh(),
        )  # fmt: skip
        optimiser = torch.optim.Adam(edit.parameters(), lr=learning.lr)
        for _ in range(learning.steps):
            rows = torch.randint(len(s), (learning.batch,))
            loss = -critic.q(s[rows], z[rows] + settings.edit * edit(_both(s[rows], z[rows]))).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return edit


def _both(s: Tensor, z: Tensor) -> Tensor:
    return torch.cat([s.expand(z.shape[0], -1), z], dim=1)  # len() would fix the number of candidates in an export
