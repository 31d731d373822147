"""A Gaussian actor that may leave the state-action pairs of the data only where the data itself goes: PRDC (Ran et al. 2023).

    L = -lambda Q(s, mu(s)) + |mu(s) - a_nn|^2 / A,     lambda = alpha / mean |Q|
    a_nn: the action of the recorded (beta s_i, a_i) nearest to (beta s, mu(s))

Behaviour cloning pulls towards the action recorded in this very state, and where two were recorded towards their mean, which
nobody ever did; here the actor is pulled to the nearest action that was done in a state like this, whichever Q prefers of them.
Neighbours are found by a k-d tree over standardised pairs. Where the authors train a TD3 critic beside the actor, ours is the one
of `riql.py`, learned before, and asked through its pessimistic quantile. sigma is what remains: the spread of a_nn about mu.
"""

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor, nn

from policies.critic import Critic
from policies.riql import Transitions
from robot_stack.config.schema import PrdcSettings


class NearestActions:
    """Recorded standardised states (M, S) and actions (M, A), searched together."""

    def __init__(self, s: Tensor, a: Tensor, beta: float) -> None:
        self._a, self._beta = a, beta
        self._tree = KDTree(torch.cat([beta * s, a], dim=1).double().numpy())

    def __call__(self, s: Tensor, a: Tensor) -> Tensor:
        """The recorded action (N, A) of the pair nearest to each of (s, a)."""
        _, nearest = self._tree.query(torch.cat([self._beta * s, a.detach()], dim=1).double().numpy())
        return self._a[torch.from_numpy(np.asarray(nearest))]


class Actor(nn.Module):
    """mu and sigma (N, A) of actions in states (N, S), both as they come."""

    sigma: Tensor

    def __init__(self, critic: Critic, width: int) -> None:
        super().__init__()
        self.critic, states, actions = critic, len(critic.s_mean), len(critic.a_mean)
        self.net = nn.Sequential(
            nn.Linear(states, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, actions)
        )
        self.register_buffer("sigma", torch.zeros(actions))

    def forward(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The two."""
        mean = self.net(self.critic.states(s))
        return mean * self.critic.a_std + self.critic.a_mean, (self.sigma * self.critic.a_std).expand_as(mean)


def train_actor(critic: Critic, data: Transitions, settings: PrdcSettings) -> Actor:
    """The actor that `critic` prefers near `data`. Same arguments, same actor."""
    s, z = critic.states(data.s), critic.actions(data.a)
    nearest = NearestActions(s, z, settings.beta)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        actor = Actor(critic, settings.width)
        optimiser = torch.optim.Adam(actor.net.parameters(), lr=settings.lr)
        for _ in range(settings.steps):
            rows = torch.randint(len(s), (settings.batch,))
            mean = actor.net(s[rows])
            q = critic.score(s[rows], mean)
            scale = settings.alpha / q.detach().abs().mean().clamp(min=1e-6)
            loss = -scale * q.mean() + (mean - nearest(s[rows], mean)).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        mean = actor.net(s)
        actor.sigma.copy_((mean - nearest(s, mean)).square().mean(0).sqrt())
    return actor.eval().requires_grad_(False)
