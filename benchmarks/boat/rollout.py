"""Closed loops, a thousand boats at once: the policy decides every `hold` steps, the filter checks every step."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.boat.network import into_ball
from drivers.boat import Boat, Mask
from robot_stack.types import Array
from safety.affine_filter import AffineFilter


class BoatPolicy(Protocol):
    """Whoever wishes."""

    def act(self, states: Array, rng: np.random.Generator) -> Array:
        """Actions (n, 2)."""
        ...


@dataclass(frozen=True, slots=True)
class GoalPolicy:
    """Makes for the goal at full speed, blind to rocks: the least careful of nominal policies."""

    boat: Boat

    def act(self, states: Array, rng: np.random.Generator) -> Array:
        """Actions (n, 2) of length 1, less within 1 m."""
        return into_ball(np.array(self.boat.goal) - states)


@dataclass(frozen=True, slots=True, eq=False)
class Rollouts:
    """Of each boat (n,): `violated`, it was inside a rock; `distance`, to the goal, mean over the episode (m); `changed`, share
    of steps in which the filter changed the wish by 1 mm/s or more; `missed`, share of steps in which its row could not be kept.
    `paths` (n, steps + 1, 2), of the boats asked for."""

    violated: Mask
    distance: Array
    changed: Array
    missed: Array
    paths: Array


def rollout(
    boat: Boat, starts: Array, policy: BoatPolicy, check: AffineFilter | None, hold: int, seed: int = 0, paths: int = 0
) -> Rollouts:
    """`boat.steps` steps from `starts` (n, 2). A boat in a rock goes on: the episode and its reward have a fixed length."""
    rng, states, n = np.random.default_rng(seed), starts, len(starts)
    worst, distance, changed, missed = boat.margin(states), np.zeros(n), np.zeros(n), np.zeros(n)
    kept = [states[:paths]]
    for i in range(boat.steps):
        if i % hold == 0:
            wish = policy.act(states, rng)
        u = wish
        if check is not None:
            filtered = check.check(states, wish)
            u, changed = filtered.u, changed + (np.linalg.norm(filtered.u - wish, axis=1) > 1e-3)
            missed = missed + (filtered.missed > 1e-6)
        states = boat.step(states, u)
        worst, distance = np.minimum(worst, boat.margin(states)), distance - boat.reward(states)
        kept.append(states[:paths])
    return Rollouts(worst < 0, distance / boat.steps, changed / boat.steps, missed / boat.steps, np.stack(kept, axis=1))


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate after k of n (Wilson 1927)."""
    centre, half = (k + z * z / 2) / (n + z * z), z * np.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
