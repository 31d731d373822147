"""Tubes of vision controllers: the controller is sampled by taking pictures at the nodes of a table, and interpolated between.

`Sample` is everything the study needs of one condition: the table, the tube, and labelled pictures at random states.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.taxi.scenes import LIMIT, Scene
from drivers import taxi
from robot_stack.types import Array, Image
from safety.reachability import StateGrid, backward_tube

HORIZON_S = 8.0
Mask = NDArray[np.bool_]
ON_RUNWAY = np.array([10.0, np.radians(30.0)])


def tube_grid(n: int) -> StateGrid:
    """[-11, 11] m x [-32, 32] degrees: the domain every volume is a share of."""
    return StateGrid((-11.0, -np.radians(32.0)), (11.0, np.radians(32.0)), (n, n))


def table_grid(n: int) -> StateGrid:
    """[-11, 11] m x [-30, 30] degrees: where pictures are taken."""
    return StateGrid(tuple(-LIMIT), tuple(LIMIT), (n, n))


FINE, COARSE = (101, 41), (61, 21)


def vision_tube(phi: Array, sizes: tuple[int, int], horizon_s: float = HORIZON_S, speed: float = taxi.SPEED) -> Array:
    """V at the nodes of ``tube_grid(sizes[0])`` for steering angles `phi` at the nodes of ``table_grid(sizes[1])``."""
    grid = tube_grid(sizes[0])
    at_nodes = table_grid(sizes[1]).interpolate(phi, grid.nodes)
    return backward_tube(grid, taxi.drift(grid.nodes, at_nodes, speed), taxi.margin(grid.nodes), horizon_s)


def ideal_tube(n: int = FINE[0]) -> Array:
    """V of perfect state feedback."""
    grid = tube_grid(n)
    return backward_tube(grid, taxi.ideal_drift(grid.nodes), taxi.margin(grid.nodes), HORIZON_S)


@dataclass(frozen=True, eq=False)
class Sample:
    """One condition: steering `phi` at the nodes of the `table` of pictures (or none), the tube `value`, and at random
    `states` on the runway their `pictures`, `estimates` of every controller (E, K, 2), and whether they fail under vision and
    under the ideal law."""

    condition: Any
    phi: Array
    table: Image
    value: Array
    states: Array
    pictures: Image
    estimates: Array
    failing: Mask
    ideal_failing: Mask


def sample(scene: Scene, condition: Any, rng: np.random.Generator, count: int, ideal: Array, keep: bool) -> Sample:
    """Take the pictures of one condition and label `count` random ones by its tube; `ideal`: ``ideal_tube(COARSE[0])``."""
    table = scene.picture(table_grid(COARSE[1]).nodes, condition, rng)
    phi = taxi.steering(scene.estimate(table))
    value = vision_tube(phi, COARSE)
    states = rng.uniform(-ON_RUNWAY, ON_RUNWAY, (count, 2))
    pictures = scene.picture(states, condition, rng)
    grid = tube_grid(COARSE[0])
    return Sample(
        condition,
        phi,
        table if keep else table[:0],
        value,
        states,
        pictures,
        np.stack([said(pictures) for said in scene.ensemble]),
        grid.interpolate(value, states) <= 0.0,
        grid.interpolate(ideal, states) <= 0.0,
    )


def samples(scene: Scene, draw: Any, conditions: int, count: int, seed: int, ideal: Array, tables: int = 0) -> list[Sample]:
    """`conditions` independent conditions of `draw`, `count` pictures each; the first `tables` keep their table's pictures."""
    rng = np.random.default_rng(seed)
    return [sample(scene, draw(rng), rng, count, ideal, k < tables) for k in range(conditions)]
