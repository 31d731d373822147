"""The exact answer a learned barrier is measured against: the largest margin that can be kept for ever, on a grid.

    V(x) = max_u min_t h(x(t)),      V <- min{ h(x), max_u V(x + tau F(x, u)) }   from V = h, to its fixed point
                                                                      (Bansal et al. 2017, arXiv 1709.07523, avoid game)

Semi-Lagrangian: V between nodes is multilinear, the control is tried in a set of directions. {V >= 0} is the viability kernel of
{h >= 0}: every state of it can stay safe, no other can.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.types import Array
from safety.reachability import StateGrid

Step = Callable[[Array, Array], Array]
"""States (n, D) `tau` after (n, D) under one control (m,), inside the grid."""


def directions(count: int) -> Array:
    """Controls (count, 2) of length 1: where x' = f + g u, the best of ||u|| <= 1 lies on the circle."""
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def avoid_value(grid: StateGrid, margin: Array, step: Step, controls: Array, tolerance: float = 1e-4, most: int = 2000) -> Array:
    """V, shaped as the grid, of `margin` h (nodes,) under the best of `controls` (k, m). Stops where no value fell by `tolerance`
    in a sweep; raises ContractError after `most` sweeps."""
    nodes = grid.nodes
    if margin.shape != nodes.shape[:1] or not np.isfinite(margin).all():
        raise ContractError(f"avoid_value: found margin {margin.shape}, allowed finite ({len(nodes)},), one a node of the grid")
    cells = [grid.cell(step(nodes, u)) for u in controls]
    corner, weight = np.stack([index for index, _ in cells]), np.stack([factors.prod(axis=2) for _, factors in cells])
    value = margin
    for _ in range(most):
        best = np.einsum("kni,kni->kn", value[corner], weight).max(axis=0)
        after: Array = np.minimum(margin, best)
        fell, value = float((value - after).max()), after
        if fell < tolerance:
            return value.reshape(grid.shape)
    raise ContractError(f"avoid_value: values still fell by {fell:g} after {most} sweeps, allowed {tolerance:g}; a larger step")


@dataclass(frozen=True, slots=True, eq=False)
class GridBarrier:
    """A function on a grid, shaped as the grid, as a barrier of the filter: multilinear value and its gradient."""

    grid: StateGrid
    values: Array

    def values_and_gradients(self, states: Array) -> tuple[Array, Array]:
        """B (n,) and dB/dx (n, D) at `states` (n, D); outside the grid those of its edge."""
        index, factors = self.grid.cell(states)
        around = self.values.reshape(-1)[index]
        rise = np.where(self.grid.corners, 1.0, -1.0) / self.grid.spacing
        slopes = [(around * np.delete(factors, i, axis=2).prod(axis=2)) @ rise[:, i] for i in range(rise.shape[1])]
        return (around * factors.prod(axis=2)).sum(axis=1), np.stack(slopes, axis=1)
