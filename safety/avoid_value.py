"""The exact answer a learned barrier is measured against: the largest margin that can be kept for ever, on a 2-D grid.

    V(x) = max_u min_t h(x(t)),      V <- min{ h(x), max_u V(x + tau F(x, u)) }   from V = h, to its fixed point
                                                                      (Bansal et al. 2017, arXiv 1709.07523, avoid game)

Semi-Lagrangian: V between grid points is bilinear, the control is tried in a set of directions. {V >= 0} is the viability kernel
of {h >= 0}: every state of it can stay safe, no other can.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import ContractError
from robot_stack.types import Array

Step = Callable[[Array, Array], Array]
"""States (n, 2) `tau` after (n, 2) under one control (m,), inside the grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Evenly spaced points `x` (nx,) and `y` (ny,); functions on it are (nx, ny)."""

    x: Array
    y: Array

    @classmethod
    def over(cls, low: tuple[float, float], high: tuple[float, float], spacing: float) -> "Grid":
        """About `spacing` apart, corners included."""
        counts = [round((b - a) / spacing) + 1 for a, b in zip(low, high, strict=True)]
        return cls(np.linspace(low[0], high[0], counts[0]), np.linspace(low[1], high[1], counts[1]))

    @property
    def states(self) -> Array:
        """All points (nx * ny, 2)."""
        return np.stack(np.meshgrid(self.x, self.y, indexing="ij"), axis=-1).reshape(-1, 2)

    @property
    def shape(self) -> tuple[int, int]:
        """(nx, ny)"""
        return len(self.x), len(self.y)

    def corners(self, states: Array) -> tuple[NDArray[np.int64], Array]:
        """Indices (n, 4) into a flat function of the cell around each state, and where in the cell it is (n, 2), 0 to 1."""
        i, s = _cell(self.x, states[:, 0])
        j, t = _cell(self.y, states[:, 1])
        flat = i * len(self.y) + j
        return np.stack([flat, flat + 1, flat + len(self.y), flat + len(self.y) + 1], axis=1), np.stack([s, t], axis=1)

    def weights(self, states: Array) -> tuple[NDArray[np.int64], Array]:
        """Indices (n, 4) and bilinear weights (n, 4): ``(values[indices] * weights).sum(1)`` is the value at each state."""
        corners, st = self.corners(states)
        s, t = st.T
        return corners, np.stack([(1 - s) * (1 - t), (1 - s) * t, s * (1 - t), s * t], axis=1)


def _cell(axis: Array, values: Array) -> tuple[NDArray[np.int64], Array]:
    place = np.clip((values - axis[0]) / (axis[1] - axis[0]), 0, len(axis) - 1)
    cell = np.minimum(place.astype(np.int64), len(axis) - 2)
    return cell, place - cell


def directions(count: int) -> Array:
    """Controls (count, 2) of length 1: where x' = f + g u, the best of ||u|| <= 1 lies on the circle."""
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def avoid_value(grid: Grid, margin: Array, step: Step, controls: Array, tolerance: float = 1e-4, most: int = 2000) -> Array:
    """V (nx, ny) of `margin` h (nx, ny) under the best of `controls` (k, m). Stops where no value fell by `tolerance` in a sweep;
    raises ContractError after `most` sweeps."""
    if margin.shape != grid.shape or not np.isfinite(margin).all():
        raise ContractError(f"avoid_value: found margin {margin.shape}, allowed finite {grid.shape}")
    states, h = grid.states, margin.reshape(-1)
    indices, weights = zip(*(grid.weights(step(states, u)) for u in controls), strict=True)
    corner, weight = np.stack(indices), np.stack(weights)
    value: Array = h
    for _ in range(most):
        best = np.einsum("kni,kni->kn", value[corner], weight).max(axis=0)
        after: Array = np.minimum(h, best)
        fell, value = float((value - after).max()), after
        if fell < tolerance:
            return value.reshape(grid.shape)
    raise ContractError(f"avoid_value: values still fell by {fell:g} after {most} sweeps, allowed {tolerance:g}; a larger step")


@dataclass(frozen=True, slots=True, eq=False)
class GridBarrier:
    """A function on a grid as a barrier of the filter: bilinear value and gradient."""

    grid: Grid
    values: Array

    def values_and_gradients(self, states: Array) -> tuple[Array, Array]:
        """B (n,) and dB/dx (n, 2) at `states` (n, 2); outside the grid those of its edge."""
        corners, weights = self.grid.weights(states)
        s, t = self.grid.corners(states)[1].T
        a, b, c, d = self.values.reshape(-1)[corners].T
        dx, dy = self.grid.x[1] - self.grid.x[0], self.grid.y[1] - self.grid.y[0]
        gradient = np.stack([((c - a) * (1 - t) + (d - b) * t) / dx, ((b - a) * (1 - s) + (d - c) * s) / dy], axis=1)
        return (np.stack([a, b, c, d], axis=1) * weights).sum(axis=1), gradient
