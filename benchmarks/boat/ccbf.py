"""CCBF (arXiv 2505.00908): a barrier trained by inequalities on labelled states, made conservative about unseen actions.

    w_s relu(eps - B(s'))|safe + w_u relu(eps + B(s'))|unsafe + w_g relu(eps - (dB/dx (f + g u) + B))|safe
      + lam_lip E|B(s') - B(s)| + w_cql E_safe[ T logsumexp over 10 random u and the logged one of B(s'_u) / T - B(s') ]

Safe and unsafe are labels of a single state, h >= 0 or h < 0: nothing carries a rock upstream but the third and the last term.
Constants are those of the authors' README; s'_u = s + dt (f(s) + g(s) u) with the learned f, g.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.boat.network import FitSettings, TanhBarrier, fit, mlp
from drivers.boat import BoatLog
from safety.dynamics_model import DynamicsModel


@dataclass(frozen=True)
class CcbfSettings:
    """The weights above."""

    network: FitSettings = FitSettings(width=96, steps=4000, batch=256, lr=3e-4)
    eps: float = 0.1
    safe: float = 1.0
    unsafe: float = 1.0
    descent: float = 2.0
    lipschitz: float = 20.0
    conservative: float = 0.1
    temperature: float = 1.0
    random_actions: int = 10


def train_ccbf(log: BoatLog, model: DynamicsModel, dt: float, settings: CcbfSettings, seed: int = 0) -> TanhBarrier:
    """B from rows that are `dt` s apart; half of them drawn from unsafe states, which are rare. B >= 0 is safe."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    unsafe, safe = np.flatnonzero(log.h < 0), np.flatnonzero(log.h >= 0)
    rows = np.concatenate([rng.choice(unsafe, 50_000), rng.choice(safe, 50_000)])
    states, actions = log.states[rows], log.actions[rows]
    f, g = model.fields(states)
    net = mlp(2, (settings.network.width,) * 3, 1, nn.Tanh)

    def loss(batch: list[Tensor]) -> Tensor:
        return _loss(net, batch, dt, settings)

    fit(net.parameters(), loss, (states, actions, log.next_states[rows], f, g, log.h[rows] >= 0), settings.network)
    layers = tuple((m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in net if isinstance(m, nn.Linear))
    return TanhBarrier(layers, np.zeros(2), np.ones(2))


def _loss(net: nn.Sequential, batch: list[Tensor], dt: float, settings: CcbfSettings) -> Tensor:
    state, action, after, f, g, safe = batch
    state = state.requires_grad_(True)
    here, there = net(state)[:, 0], net(after)[:, 0]
    gradient = torch.autograd.grad(here.sum(), state, create_graph=True)[0]
    rate = (gradient * (f + (g @ action[..., None])[..., 0])).sum(1)
    shape = _mean(safe, torch.relu(settings.eps - there)) * settings.safe
    shape = shape + _mean(1 - safe, torch.relu(settings.eps + there)) * settings.unsafe
    descent = _mean(safe, torch.relu(settings.eps - rate - here)) * settings.descent
    tried = state.detach()[:, None] + dt * (f[:, None] + _try(g, settings.random_actions))
    values = torch.cat([net(tried)[..., 0], there[:, None]], dim=1) / settings.temperature
    conservative = _mean(safe, settings.temperature * torch.logsumexp(values, dim=1) - there) * settings.conservative
    return shape + descent + settings.lipschitz * (there - here).abs().mean() + conservative


def _try(g: Tensor, count: int) -> Tensor:
    """g u (n, count, D) of random actions in the unit ball."""
    u = torch.randn(len(g), count, g.shape[2])
    u = u / u.norm(dim=2, keepdim=True) * torch.rand(len(g), count, 1).sqrt()
    return (g[:, None] @ u[..., None])[..., 0]


def _mean(weight: Tensor, values: Tensor) -> Tensor:
    return (weight * values).sum() / weight.sum().clamp(min=1)
