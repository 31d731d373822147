"""Behaviour cloning, of everybody (BC) or of those who never touched a rock (BC-safe): the nominal policy and a baseline."""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.boat.network import FitSettings, NumpyNetwork, fit, into_ball, mlp
from drivers.boat import BoatLog
from robot_stack.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class ClonedPolicy:
    """The mean action of the crews at a state."""

    net: NumpyNetwork

    def act(self, states: Array, rng: np.random.Generator) -> Array:
        """Actions (n, 2), no longer than 1."""
        return into_ball(self.net(states))


def train_bc(states: Array, actions: Array, settings: FitSettings, seed: int = 0) -> ClonedPolicy:
    """Least squares on decisions (M, 2), (M, 2)."""
    torch.manual_seed(seed)
    net = mlp(2, (settings.width, settings.width), 2)
    fit(net.parameters(), lambda batch: (net(batch[0]) - batch[1]).square().mean(), (states, actions), settings)
    return ClonedPolicy(NumpyNetwork.of(net))


def safe_trajectories(log: BoatLog) -> Array:
    """Mask (M,): rows of trajectories that were never inside a rock."""
    touched = np.unique(log.trajectory[log.h < 0])
    return ~np.isin(log.trajectory, touched)
