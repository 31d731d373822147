"""Least, greatest, mean and standard deviation of columns, in one pass and constant memory; the same however they are split.

Two parts are put together by Chan, Golub & LeVeque (1979): with n, mean m and sum of squared deviations S of each,
m = (n_a m_a + n_b m_b) / n and S = S_a + S_b + (m_b - m_a)^2 n_a n_b / n. Parts are merged in the order of the episodes, so one
process and many get the same bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of `count` rows: least, greatest, mean and sum of squared deviations, (width,) each. Numbers that are not finite count as
    no number: `count` (width,) says how many were."""

    count: Array
    least: Array
    most: Array
    mean: Array
    squares: Array

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Moments":
        """Of the rows of `values` (n, ...)."""
        wide = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        finite = np.isfinite(wide)
        if finite.all():
            mean = wide.mean(axis=0)
            return cls(np.full(wide.shape[1], float(len(wide))), wide.min(0), wide.max(0), mean, ((wide - mean) ** 2).sum(0))
        count, kept = finite.sum(axis=0).astype(np.float64), np.where(finite, wide, 0.0)
        mean = kept.sum(axis=0) / np.maximum(count, 1)
        least, most = np.where(finite, wide, np.inf).min(axis=0), np.where(finite, wide, -np.inf).max(axis=0)
        return cls(count, least, most, mean, (np.where(finite, wide - mean, 0.0) ** 2).sum(axis=0))

    def merge(self, other: "Moments") -> "Moments":
        """Of both together."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        step = other.mean - self.mean
        squares = self.squares + other.squares + step**2 * self.count * share
        least, most = np.minimum(self.least, other.least), np.maximum(self.most, other.most)
        return Moments(count, least, most, self.mean + step * share, squares)

    def as_lists(self) -> dict[str, list[float]]:
        """min, max, mean, std (of the population) and count, as LeRobot keeps them; 0 where there was no number."""
        none = self.count == 0
        std = np.sqrt(self.squares / np.maximum(self.count, 1))
        parts = {"min": self.least, "max": self.most, "mean": self.mean, "std": std}
        return {k: np.where(none, 0.0, v).tolist() for k, v in parts.items()} | {"count": [int(self.count.max(initial=0))]}


def merged(first: Mapping[str, Moments], second: Mapping[str, Moments]) -> dict[str, Moments]:
    """The moments of two parts of a dataset, by column; a column only one has, or of another width, stays as the first has it."""
    found = dict(first)
    for name, moments in second.items():
        if name not in found:
            found[name] = moments
        elif found[name].mean.shape == moments.mean.shape:
            found[name] = found[name].merge(moments)
    return found
