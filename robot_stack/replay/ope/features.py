"""Feature maps: what a linear Q function and the weights of states are linear in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_stack.replay.ope.logged import LoggedData
from robot_stack.types import Array

ROWS_FOR_WIDTH = 500


@dataclass(frozen=True, slots=True)
class Features:
    """`pair(states (n, S), actions (n, A)) -> (n, D)` for Q, `state(states (n, S)) -> (n, D_s)` for weights."""

    pair: Callable[[Array, Array], Array]
    state: Callable[[Array], Array]


def one_hot(num_states: int, num_actions: int) -> Features:
    """A table: column 0 of states and of actions is a number 0, 1, ..."""

    def pair(states: Array, actions: Array) -> Array:
        table: Array = np.eye(num_states * num_actions)[(states[:, 0] * num_actions + actions[:, 0]).astype(int)]
        return table

    def state(states: Array) -> Array:
        table: Array = np.eye(num_states)[states[:, 0].astype(int)]
        return table

    return Features(pair, state)


def smooth(data: LoggedData, num_pair: int = 64, num_state: int = 32, seed: int = 0) -> Features:
    """For continuous states and actions, scaled as logged: 1, x, products x_i x_j, and random Fourier features.

    ``sqrt(2 / D) cos(W x + b)``, ``W ~ N(0, 1 / l^2)``, ``b ~ U(0, 2 pi)`` span the functions of a Gaussian kernel of length l
    (Rahimi and Recht, NeurIPS 2007), l the median distance of logged rows. Products are left out above 20 dimensions.
    """
    rng = np.random.default_rng(seed)
    states = np.concatenate([e.states[:-1] for e in data.episodes])
    actions = np.concatenate([e.actions for e in data.episodes])
    of_pair = _smooth(np.concatenate([states, actions], axis=1), num_pair, rng)
    return Features(lambda s, a: of_pair(np.concatenate([s, a], axis=1)), _smooth(states, num_state, rng))


def _smooth(rows: Array, num: int, rng: np.random.Generator) -> Callable[[Array], Array]:
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    std = np.where(std > 1e-9 * (1.0 + np.abs(mean)), std, 1.0)
    some = ((rows - mean) / std)[rng.permutation(len(rows))[:ROWS_FOR_WIDTH]]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2)
    width = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    frequencies = rng.normal(size=(rows.shape[1], num)) / width
    phases = rng.uniform(0.0, 2.0 * np.pi, num)
    i, j = np.triu_indices(rows.shape[1]) if rows.shape[1] <= 20 else (np.zeros(0, int), np.zeros(0, int))

    def features(values: Array) -> Array:
        x = (values - mean) / std
        waves = np.sqrt(2.0 / num) * np.cos(x @ frequencies + phases)
        whole: Array = np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j], waves], axis=1)
        return whole

    return features
