"""Fifteen policies of known value on the boat, and the log of one of them: what `bench ope` and its small test evaluate.

A decision is an oar vector drawn from a Gaussian, held for `HOLD` steps; the boat executes it scaled back to length 1 where it
is longer, so the density of what was logged is known exactly. Reward of a decision: 1 - distance to the goal (m) / 4, and 1
less in a rock. The river carries a boat to its end, the goal's side, whatever it does: what differs is the line and the speed.
"""

from dataclasses import dataclass

import numpy as np

from drivers.boat import Boat
from robot_stack.replay.ope.logged import LoggedData, LoggedEpisode, TargetPolicy
from robot_stack.types import Array

HOLD, DECISIONS, GAMMA = 10, 40, 1.0
BOAT = Boat()


@dataclass(frozen=True)
class Rower:
    """``a ~ N(speed R(angle) unit(goal - x) + shy away(x), sigma^2 I)``; `speed` below 0 rows from the goal, `angle` rad turns
    the course, `shy` pushes away from rocks, `aside` m aims beside the goal."""

    name: str
    speed: float = 0.8
    angle: float = 0.0
    shy: float = 0.0
    aside: float = 0.0
    sigma: float = 0.4

    def mean(self, states: Array) -> Array:
        """(n, 2) m/s."""
        goal = np.array(BOAT.goal) + np.array([0.0, self.aside])
        course = goal - states
        course = course / np.maximum(np.linalg.norm(course, axis=1, keepdims=True), 0.1)
        c, s = np.cos(self.angle), np.sin(self.angle)
        away = BOAT.margin_gradient(states) * np.exp(-np.maximum(BOAT.margin(states), 0.0) / 0.3)[:, None]
        mean: Array = self.speed * course @ np.array([[c, s], [-s, c]]) + self.shy * away
        return mean

    def sample(self, states: Array, rng: np.random.Generator) -> Array:
        """Actions (n, 2)."""
        actions: Array = self.mean(states) + self.sigma * rng.normal(size=states.shape)
        return actions

    def log_density(self, states: Array, actions: Array) -> Array:
        """(n,)."""
        error = ((actions - self.mean(states)) ** 2).sum(axis=1)
        density: Array = -0.5 * error / self.sigma**2 - np.log(2.0 * np.pi * self.sigma**2)
        return density

    def target(self) -> TargetPolicy:
        """As the estimators take it."""
        return TargetPolicy(self.sample, self.log_density)


BEHAVIOUR = Rower("behaviour", speed=0.4, shy=0.4, sigma=0.5)
ROWERS = (
    BEHAVIOUR,
    Rower("calmer", speed=0.4, shy=0.4, sigma=0.4),
    Rower("faster", speed=0.6, shy=0.4),
    Rower("careful", speed=0.5, shy=0.8),
    Rower("fast and careful", speed=0.8, shy=0.8),
    Rower("bold", speed=0.6, shy=0.0),
    Rower("at the rocks", speed=0.4, shy=-0.5),
    Rower("drifting", speed=0.0, shy=0.0),
    Rower("slow", speed=0.2, shy=0.2),
    Rower("backwards", speed=-0.4, shy=0.2),
    Rower("hard backwards", speed=-0.8, shy=0.0),
    Rower("off course", speed=0.5, shy=0.3, angle=0.8),
    Rower("far off course", speed=0.5, shy=0.3, angle=-1.6),
    Rower("aside", speed=0.5, shy=0.4, aside=0.8),
    Rower("far aside", speed=0.6, shy=0.0, aside=-1.5),
)


def rewards_of(states: Array) -> Array:
    """(n,) of a decision that ends at `states`."""
    reward: Array = 1.0 + BOAT.reward(states) / 4.0 - (BOAT.margin(states) < 0)
    return reward


def roll_out(rower: Rower, episodes: int, seed: int) -> tuple[Array, Array, Array]:
    """States (E, H + 1, 2), actions (E, H, 2), rewards (E, H)."""
    rng = np.random.default_rng(seed)
    x = rng.uniform((-3.0, -2.0), (-2.0, 2.0), (episodes, 2))
    states, actions, rewards = [x], [], []
    for _ in range(DECISIONS):
        a = rower.sample(x, rng)
        oars = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1.0)
        for _ in range(HOLD):
            x = BOAT.step(x, oars)
        states.append(x)
        actions.append(a)
        rewards.append(rewards_of(x))
    return np.stack(states, axis=1), np.stack(actions, axis=1), np.stack(rewards, axis=1)


def true_value(rower: Rower, episodes: int, seed: int = 10_000) -> tuple[float, float]:
    """J by simulation, and its standard error."""
    returns = roll_out(rower, episodes, seed)[2].sum(axis=1)
    return float(returns.mean()), float(returns.std() / np.sqrt(episodes))


def logged(rower: Rower, episodes: int, seed: int) -> LoggedData:
    """A log of `rower`, densities included."""
    columns = zip(*roll_out(rower, episodes, seed), strict=True)
    made = [LoggedEpisode(s, a, r, rower.log_density(s[:-1], a)) for s, a, r in columns]
    return LoggedData(tuple(made), GAMMA, DECISIONS)
