"""What a data set covers and how well it does: TQ and SACo (Schweighofer et al., CoLLAs 2022), and a map of where it has been.

    TQ   = (mean return - g_min) / (g_max - g_min)        g_min: a random policy's return, g_max: the best known
    SACo = u(D) / u(D_ref)                                u: the number of unique (s, a), each number cut into 100 bins
    lSACo = log u(D) / log u(D_ref)

The authors take both references from an online run; without one the best return of the data and the data set itself stand in,
and what is said of an episode is its share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_stack.errors import DataError
from robot_stack.relabel.motion import Motion
from robot_stack.types import Array

BINS, CELLS = 100, 40
"""Bins of each number, and cells a side of the map."""


def trajectory_quality(returns: Array, g_min: float, g_max: float) -> Array:
    """(E,) TQ of each return; their mean is the data set's. Raises DataError unless g_max > g_min."""
    if not g_max > g_min:
        raise DataError(
            f"trajectory quality: found g_min {g_min:g}, g_max {g_max:g}, allowed g_max > g_min; give both references"
        )
    return np.asarray((returns - g_min) / (g_max - g_min))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The bins of (s, a): `low` and `high` (D,) of the reference data."""

    low: Array
    high: Array

    @classmethod
    def of(cls, motions: Sequence[Motion]) -> "Grid":
        """Bins that hold all of `motions`."""
        rows = np.concatenate([_pairs(m) for m in motions])
        return cls(rows.min(axis=0), rows.max(axis=0))

    def cells(self, motion: Motion) -> set[bytes]:
        """The unique cells the pairs of `motion` fall into."""
        span = np.maximum(self.high - self.low, 1e-12)
        index = np.clip((_pairs(motion) - self.low) / span * BINS, 0, BINS - 1).astype(np.uint8)
        return {row.tobytes() for row in index}


def state_action_coverage(motions: Sequence[Motion], reference: Sequence[Motion]) -> tuple[float, float]:
    """SACo and lSACo of `motions` against `reference`."""
    grid = Grid.of(reference)
    u, u_ref = (len(set().union(*(grid.cells(m) for m in part))) for part in (motions, reference))
    return u / max(u_ref, 1), float(np.log(max(u, 1)) / np.log(max(u_ref, 2)))


def shares(motions: Sequence[Motion]) -> Array:
    """(E,) SACo of each episode alone, against all of them."""
    grid = Grid.of(motions)
    cells = [grid.cells(m) for m in motions]
    return np.array([len(part) for part in cells]) / max(len(set().union(*cells)), 1)


@dataclass(frozen=True, slots=True, eq=False)
class CoverageMap:
    """Rows in each cell of the plane of the first two principal components of (s, a): `counts` (CELLS, CELLS).

    `explained`: the share of the variance the plane shows; `alone` (E,): the share of an episode's rows in cells no other is in.
    """

    counts: Array
    explained: float
    alone: Array


def coverage_map(motions: Sequence[Motion]) -> CoverageMap:
    """The map of all rows of `motions`."""
    rows = np.concatenate([_pairs(m) for m in motions])
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    power, axes = np.linalg.eigh(rows.T @ rows)
    plane = rows @ axes[:, :-3:-1]
    low, span = plane.min(axis=0), np.maximum(np.ptp(plane, axis=0), 1e-12)
    cell = np.clip((plane - low) / span * CELLS, 0, CELLS - 1).astype(int)
    flat = cell @ np.array([1, CELLS])[: cell.shape[1]]
    episode = np.repeat(np.arange(len(motions)), [len(m) for m in motions])
    visitors = np.bincount(np.unique(np.stack([flat, episode]), axis=1)[0], minlength=CELLS * CELLS)
    alone = np.bincount(episode, visitors[flat] == 1, len(motions)) / np.bincount(episode, minlength=len(motions))
    counts = np.bincount(flat, minlength=CELLS * CELLS).reshape(CELLS, CELLS)
    return CoverageMap(counts.astype(np.float64), float(power[-2:].sum() / max(power.sum(), 1e-12)), alone)


def _pairs(motion: Motion) -> Array:
    return np.hstack([motion.q, motion.action])
