"""The boat of V-OCBF (arXiv 2512.10822): a river that is stronger than the oars wherever it matters.

    x' = u1 + 2 - 0.5 y^2      y' = u2      ||u|| <= 1      h(x) = min_i ||x - c_i|| - r_i

|y| < sqrt(2): the stream carries the boat to the right whatever it does, so some states clear of both rocks are lost all the
same. States (n, 2) m in the world frame, many boats at once; actions (n, 2) m/s. Unlike the released code, which rescales every
action to unit length behind the filter's back, ||u|| <= 1 is what it says: longer actions are refused, shorter ones are executed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import ContractError
from robot_stack.types import Array

Mask = NDArray[np.bool_]
ROUNDING = 1e-6
"""What ||u|| may exceed 1 by."""


@dataclass(frozen=True)
class Boat:
    """The plant and its task; defaults are the paper's. `obstacles`: (x, y, radius) m; `dt` s a step, `steps` an episode; the
    banks are the rectangle `low` to `high` (m), where a boat stays when it is driven against them."""

    dt: float = 0.005
    steps: int = 400
    low: tuple[float, float] = (-3.0, -2.0)
    high: tuple[float, float] = (2.0, 2.0)
    obstacles: tuple[tuple[float, float, float], ...] = ((-0.5, 0.5, 0.4), (-1.0, -1.2, 0.5))
    goal: tuple[float, float] = (1.5, 0.0)

    def fields(self, states: Array) -> tuple[Array, Array]:
        """f (n, 2) and g (n, 2, 2) of ``x' = f(x) + g(x) u``."""
        f = np.stack([2.0 - 0.5 * states[:, 1] ** 2, np.zeros(len(states))], axis=1)
        return f, np.broadcast_to(np.eye(2), (len(states), 2, 2))

    def step(self, states: Array, actions: Array) -> Array:
        """The states `dt` later (Euler, as the paper's). Raises ContractError on an action that is not finite or too long."""
        length = np.linalg.norm(actions, axis=1)
        if not (length <= 1.0 + ROUNDING).all():
            raise ContractError(f"boat: found an action of length {length.max():g}, allowed finite, at most 1; project it first")
        after: Array = np.clip(states + self.dt * (self.fields(states)[0] + actions), self.low, self.high)
        return after

    def margin(self, states: Array) -> Array:
        """h (n,) m: the distance to the nearest rock, negative inside."""
        rocks = np.array(self.obstacles)
        nearest: Array = (np.linalg.norm(states[:, None] - rocks[:, :2], axis=2) - rocks[:, 2]).min(axis=1)
        return nearest

    def margin_gradient(self, states: Array) -> Array:
        """dh/dx (n, 2): away from the nearest rock."""
        rocks = np.array(self.obstacles)
        away = states[:, None] - rocks[:, :2]
        length = np.linalg.norm(away, axis=2)
        nearest = (length - rocks[:, 2]).argmin(axis=1)
        rows = np.arange(len(states))
        gradient: Array = away[rows, nearest] / np.maximum(length[rows, nearest], 1e-9)[:, None]
        return gradient

    def reward(self, states: Array) -> Array:
        """(n,) m: minus the distance to the goal."""
        distance = np.linalg.norm(states - np.array(self.goal), axis=1)
        reward: Array = -distance
        return reward

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """States (count, 2), even over the river, rocks included."""
        return rng.uniform(self.low, self.high, (count, 2))


@dataclass(frozen=True, slots=True, eq=False)
class BoatLog:
    """Trajectories end to end, one row a step: `states`, `actions`, `next_states` (M, 2), `reward` and `h` (M,) at `states`,
    `done` (M,) True on the last row of each, `trajectory` (M,) its number."""

    states: Array
    actions: Array
    next_states: Array
    reward: Array
    h: Array
    done: Mask
    trajectory: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.states)


def collect(boat: Boat, count: int, seed: int, hold: int = 10) -> BoatLog:
    """`count` transitions of a mixed crew (see `_crew`), which makes up its mind every `hold` steps, from starts all over the
    river. A trajectory ends after `boat.steps`, or where the river does."""
    rng = np.random.default_rng(seed)
    boats = int(np.ceil(2.5 * count / boat.steps)) + 1
    states, crew = boat.draw(boats, rng), rng.integers(0, 4, boats)
    u, rows = np.zeros((boats, 2)), []
    for i in range(boat.steps):
        if i % hold == 0:
            u = _crew(boat, states, u, crew, rng)
        after = boat.step(states, u)
        rows.append((states, u, after))
        states = after
    states, actions, after = (np.stack(column, axis=1) for column in zip(*rows, strict=True))
    return _log(boat, states, actions, after, count)


def _crew(boat: Boat, states: Array, last: Array, crew: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """The action of each crew: 0 makes for the goal, 1 does too but keeps off rocks, 2 drifts about, 3 rows against the stream;
    every third decision of any of them is a whim."""
    n = len(states)
    to_goal = _unit(np.array(boat.goal) - states)
    away = boat.margin_gradient(states) * np.exp(-np.maximum(boat.margin(states), 0.0) / 0.3)[:, None]
    whim = _unit(rng.normal(size=(n, 2)))
    against = _unit(np.array([-1.0, 0.0]) + 0.5 * rng.normal(size=(n, 2)))
    wish = np.choose(crew[:, None], [to_goal, to_goal + 2.0 * away, last + 0.6 * whim, against])
    wish = _unit(wish + 0.3 * rng.normal(size=(n, 2)))
    speed = np.where(rng.random(n) < 0.5, 1.0, np.sqrt(rng.random(n)))
    actions: Array = np.where((rng.random(n) < 1 / 3)[:, None], whim, wish) * speed[:, None]
    return actions


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit


def _log(boat: Boat, states: Array, actions: Array, after: Array, count: int) -> BoatLog:
    """Columns (boats, steps, 2) cut where a boat reaches the end of the river, then at `count` rows."""
    running = np.cumsum(after[:, :, 0] >= boat.high[0], axis=1) <= 1
    trajectory = np.broadcast_to(np.arange(len(states))[:, None], running.shape)[running][:count]
    states, actions, after = states[running][:count], actions[running][:count], after[running][:count]
    if len(states) < count:
        raise ContractError(f"boat: found {len(states)} rows, allowed {count}; collect in several parts")
    done = np.append(trajectory[1:] != trajectory[:-1], True)
    return BoatLog(states, actions, after, boat.reward(states), boat.margin(states), done, trajectory)
