"""FISOR-style feasibility weighting (arXiv 2401.10700) on the same data: no filter, the policy itself is made safe offline.

Weights of the imitation of (s, a), with the critics of V-OCBF (V-OCBF's recursion is FISOR's with the sign turned: V >= 0 safe):
    feasible, V(s) >= 0:   exp(b_r A_r(s, a)) if Q(s, a) >= 0 else 0,     A_r from IQL on the reward (arXiv 2110.06169)
    infeasible:            exp(b_h (Q(s, a) - V(s)))
The policy is a mixture of Gaussians (FISOR: a diffusion model); of `candidates` samples the one with the largest Q(s, a) is
rowed, as in FISOR. Weights are capped at `cap`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.boat.network import FitSettings, NumpyNetwork, fit, into_ball, mlp
from robot_stack.types import Array
from safety.hindsight import Transitions
from safety.vocbf import FittedBarrier


@dataclass(frozen=True)
class FisorSettings:
    """`reward_gain` b_r (advantages in units of their std), `margin_gain` b_h 1/m, IQL's `discount` and `expectile`."""

    network: FitSettings = FitSettings(steps=3000)
    parts: int = 6
    candidates: int = 16
    reward_gain: float = 3.0
    margin_gain: float = 50.0
    cap: float = 100.0
    discount: float = 0.99
    expectile: float = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class FisorPolicy:
    """Samples of the weighted mixture, the one the critics of the margin like best."""

    net: NumpyNetwork
    fitted: FittedBarrier
    parts: int
    candidates: int

    def act(self, states: Array, rng: np.random.Generator) -> Array:
        """Actions (n, 2), no longer than 1."""
        many = np.repeat(states, self.candidates, axis=0)
        out = np.repeat(self.net(states), self.candidates, axis=0).reshape(len(many), self.parts, 5)
        part = (out[:, :, 0] + rng.gumbel(size=(len(many), self.parts))).argmax(axis=1)
        chosen = out[np.arange(len(many)), part]
        u = into_ball(chosen[:, 1:3] + np.exp(np.clip(chosen[:, 3:5], -4, 1)) * rng.normal(size=(len(many), 2)))
        q = self.fitted.critic(many, u).reshape(len(states), self.candidates)
        return u.reshape(len(states), self.candidates, 2)[np.arange(len(states)), q.argmax(axis=1)]


def train_fisor(data: Transitions, reward: Array, fitted: FittedBarrier, settings: FisorSettings, seed: int = 0) -> FisorPolicy:
    """Clone the decisions of `data` with the weights above; `reward` (M,) of each decision."""
    torch.manual_seed(seed)
    advantage = _reward_advantage(data, reward, settings)
    weights = _weights(data, advantage, fitted, settings)
    net = mlp(2, (settings.network.width,) * 2, 5 * settings.parts)

    def loss(batch: list[Tensor]) -> Tensor:
        state, action, weight = batch
        return -(weight * _log_density(net(state).reshape(len(state), -1, 5), action)).mean()

    fit(net.parameters(), loss, (data.states, data.actions, weights / weights.mean()), settings.network)
    return FisorPolicy(NumpyNetwork.of(net), fitted, settings.parts, settings.candidates)


def _weights(data: Transitions, advantage: Array, fitted: FittedBarrier, settings: FisorSettings) -> Array:
    value, _ = fitted.barrier().values_and_gradients(data.states)
    q = fitted.critic(data.states, data.actions)
    feasible = np.exp(np.minimum(settings.reward_gain * advantage, 20.0)) * (q >= 0)
    infeasible = np.exp(np.minimum(settings.margin_gain * (q - value), 20.0))
    return np.minimum(np.where(value >= 0, feasible, infeasible), settings.cap)


def _log_density(out: Tensor, action: Tensor) -> Tensor:
    spread = out[:, :, 3:5].clamp(-4, 1)
    z = (action[:, None] - out[:, :, 1:3]) * (-spread).exp()
    return torch.logsumexp(out[:, :, 0].log_softmax(1) - (0.5 * z.square() + spread).sum(2), dim=1)


def _reward_advantage(data: Transitions, reward: Array, settings: FisorSettings) -> Array:
    """IQL: A_r (M,) = Q_r - V_r, in units of its std."""
    q_net, v_net = mlp(4, (settings.network.width,) * 2, 1), mlp(2, (settings.network.width,) * 2, 1)
    scaled = (reward - reward.mean()) / reward.std() * (1 - settings.discount)

    def loss(batch: list[Tensor]) -> Tensor:
        state, action, after, gain = batch
        values = v_net(torch.cat([state, after]))[:, 0]
        value, value_after = values[: len(state)], values[len(state) :].detach()
        q = q_net(torch.cat([state, action], dim=1))[:, 0]
        gap = q.detach() - value
        weight = torch.where(gap < 0, 1 - settings.expectile, settings.expectile)
        return (q - gain - settings.discount * value_after).square().mean() + (weight * gap.square()).mean()

    columns = (data.states, data.actions, data.next_states, scaled)
    fit([*q_net.parameters(), *v_net.parameters()], loss, columns, settings.network)
    q = NumpyNetwork.of(q_net)(np.hstack([data.states, data.actions]))[:, 0]
    advantage = q - NumpyNetwork.of(v_net)(data.states)[:, 0]
    return advantage / advantage.std()
