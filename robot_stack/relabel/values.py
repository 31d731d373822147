"""From sparse to dense: how far along a step is, by a goal-conditioned value learned from nothing but what was done.

After HILP and V-PTR (Park et al. 2024, Bhateja et al. 2023): V(s, g) = gamma^k, k the steps from s to g, is regressed on pairs of
states of one episode, g drawn from those after s, half of the time the last one. The upper expectile (IQL's), tau > 1/2,

    min_w sum |tau - 1(y < psi w)| (y - psi w)^2 + ridge |w|^2,    y = gamma^k,

leans to the shortest way that any episode took from such an s to such a g, not to the detours. It is solved by reweighted least
squares, being convex: psi(s, g) are random Fourier features of the standardised (s, g) and the distance of each joint from its
goal. States are joints and speeds: where objects are is not in them, nor is a picture.

`value` (n,) is V(s_t, s_T), s_T where the episode ended; `progress` (n,), 0 to 1, how much of the way from the start, in steps by
the value, lies behind. With `reward` of `rewards` they feed `weights.by=value`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_stack.config.relabel import ValueSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.labels import Labels
from robot_stack.data.recording import STATE, Recording
from robot_stack.relabel.labeller import Labeller, random_of
from robot_stack.types import Array

LEAST = 1e-3
"""The value of what is further away than anybody went."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """V as weights `w` of features; states x (., 2 J), goals (., J). `error`: mean absolute, on the pairs it was fitted to."""

    mean: Array
    std: Array
    omega: Array
    phase: Array
    w: Array
    error: float

    def at(self, x: Array, goal: Array) -> Array:
        """V (n,), LEAST to 1, of states x (n, 2 J) and goals (n, J)."""
        return np.clip(self.features(x, goal) @ self.w, LEAST, 1.0)

    def features(self, x: Array, goal: Array) -> Array:
        """psi (n, F + 2 J + 1)."""
        joints = goal.shape[1]
        s, g = (x - self.mean) / self.std, (goal - self.mean[:joints]) / self.std[:joints]
        both, away = np.concatenate([s, g], axis=1), np.abs(s[:, :joints] - g)
        waves = np.cos(both @ self.omega + self.phase) * np.sqrt(2.0 / len(self.phase))
        return np.concatenate([np.ones((len(x), 1)), away, np.exp(-away), waves], axis=1)


def states(episode: Recording) -> Array:
    """x (n, 2 J): joints and their speeds."""
    q = episode.numbers(STATE)
    return np.concatenate([q, np.diff(q, axis=0, prepend=q[:1]) * episode.rate_hz], axis=1)


def measure(episode: Recording, settings: ValueSettings) -> dict[str, Array]:
    """Pairs of the episode: x, goal, and the steps between them. The draw depends on the seed and the episode's name alone."""
    x, last = states(episode), len(episode) - 1
    random = random_of(episode, settings.seed)
    row = random.integers(0, last + 1, settings.pairs)
    later = row + (random.random(settings.pairs) * (last + 1 - row)).astype(int)
    goal = np.where(random.random(settings.pairs) < 0.5, last, later)
    return {"x": x[row], "goal": x[goal, : x.shape[1] // 2], "steps": (goal - row).astype(np.float64)}


def gather(facts: Mapping[str, dict[str, Array]], settings: ValueSettings, catalogue: Catalogue) -> Value:
    """V fitted to all pairs."""
    x, goal, steps = (np.concatenate([fact[name] for fact in facts.values()]) for name in ("x", "goal", "steps"))
    random, wide = np.random.default_rng(settings.seed), x.shape[1] + goal.shape[1]
    omega = random.normal(0.0, wide**-0.5, (wide, settings.features))
    phase = random.uniform(0.0, 2 * np.pi, settings.features)
    blank = Value(x.mean(0), np.maximum(x.std(0), 1e-6), omega, phase, np.zeros(0), 0.0)
    psi, y = blank.features(x, goal), settings.discount**steps
    w = expectile(psi, y, settings.expectile, settings.ridge)
    return Value(blank.mean, blank.std, omega, phase, w, float(np.abs(psi @ w - y).mean()))


def expectile(psi: Array, y: Array, tau: float, ridge: float, steps: int = 50) -> Array:
    """w (F,) of the regression above: Newton's steps, each a weighted least squares; it ends when no residual changes its
    sign."""
    w: Array = np.zeros(psi.shape[1])
    above = np.ones(len(y), dtype=bool)
    for _ in range(steps):
        weight = np.where(above, tau, 1.0 - tau)
        w = np.asarray(
            np.linalg.solve((psi * weight[:, None]).T @ psi + ridge * np.eye(psi.shape[1]), psi.T @ (weight * y)),
            dtype=np.float64,
        )
        if np.array_equal(above, now := y >= psi @ w):
            break
        above = now
    return w


def label(episode: Recording, settings: ValueSettings, gathered: Value) -> Labels:
    """`value` and `progress` (n,)."""
    x = states(episode)
    value = gathered.at(x, np.broadcast_to(x[-1, : x.shape[1] // 2], (len(x), x.shape[1] // 2)))
    left = np.log(value)
    progress = np.clip(1.0 - left / min(left[0], -1e-6), 0.0, 1.0)
    return {"value": value.astype(np.float32), "progress": progress.astype(np.float32)}


def tell(gathered: Value) -> str:
    """How well it fits."""
    return f"value of a state and a goal: {gathered.error:.3f} off in the mean, on the pairs it was fitted to"


LABELLER = Labeller("values", 1, label, measure=measure, gather=gather, tell=tell)
