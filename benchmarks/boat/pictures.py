"""Pictures of the boat, to be looked at: value functions with their zero level beside the exact one, paths of every method."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.boat.distance import DistanceBarrier
from benchmarks.boat.learning import Lessons
from benchmarks.boat.rollout import rollout
from benchmarks.boat.table import Method
from drivers.boat import Boat
from robot_stack.types import Array
from safety.affine_filter import StateBarrier


def values(lessons: Lessons, level: float, file: Path) -> Path:
    """B of every barrier (m), its zero level and the calibrated one (black, dotted) and the exact set (white)."""
    barriers: Mapping[str, StateBarrier] = {
        "exact": lessons.exact,
        "V-OCBF": lessons.vocbf,
        "V-OCBF as published": lessons.as_published,
        "CCBF": lessons.ccbf,
        "distance": DistanceBarrier(lessons.boat),
    }
    figure, axes = plt.subplots(2, 3, figsize=(15, 8), layout="constrained")
    grid = lessons.exact.grid
    for axis, (name, barrier) in zip(axes.flat, barriers.items(), strict=False):
        B = barrier.values_and_gradients(grid.nodes)[0].reshape(grid.shape)
        picture = axis.pcolormesh(*grid.axes, B.T, cmap="RdBu", vmin=-0.5, vmax=0.5, rasterized=True)
        axis.contour(*grid.axes, B.T, levels=[0.0], colors="k", linewidths=1.5)
        if name == "V-OCBF" and np.isfinite(level):
            axis.contour(*grid.axes, B.T, levels=[level], colors="k", linestyles="dotted")
        axis.contour(*grid.axes, lessons.exact.values.T, levels=[0.0], colors="w", linewidths=1.0)
        _river(axis, lessons.boat)
        axis.set_title(name)
    _error(axes.flat[5], lessons)
    figure.colorbar(picture, ax=axes, shrink=0.6, label="B, m")
    return _save(figure, file)


def _error(axis: Any, lessons: Lessons) -> None:
    grid = lessons.exact.grid
    B = lessons.vocbf.values_and_gradients(grid.nodes)[0].reshape(grid.shape)
    wrong = np.sign((B >= 0).astype(int) - (lessons.exact.values >= 0).astype(int))
    axis.pcolormesh(*grid.axes, wrong.T, cmap="coolwarm", vmin=-1, vmax=1, rasterized=True)
    _river(axis, lessons.boat)
    axis.set_title("V-OCBF: red false safe, blue given away")


def paths(lessons: Lessons, rows: list[Method], starts: Array, file: Path) -> Path:
    """Where every method goes from the same `starts` (n, 2)."""
    lines = -(-len(rows) // 3)
    figure, axes = plt.subplots(lines, 3, figsize=(15, 3.6 * lines), layout="constrained")
    for axis, row in zip(axes.flat, rows, strict=False):
        runs = rollout(lessons.boat, starts, row.policy, row.check, lessons.study.hold, paths=len(starts))
        for path, violated in zip(runs.paths, runs.violated, strict=True):
            axis.plot(*path.T, color="tab:red" if violated else "tab:blue", linewidth=0.8)
        axis.plot(*starts.T, "k.", markersize=3)
        grid = lessons.exact.grid
        axis.contour(*grid.axes, lessons.exact.values.T, levels=[0.0], colors="k", linewidths=0.8)
        _river(axis, lessons.boat)
        axis.set_title(f"{row.name}: {int(runs.violated.sum())} of {len(starts)} touch")
    for axis in axes.flat[len(rows) :]:
        axis.remove()
    return _save(figure, file)


def _river(axis: Any, boat: Boat) -> None:
    for x, y, radius in boat.obstacles:
        axis.add_patch(plt.Circle((x, y), radius, fill=False, color="dimgray", linewidth=1.0))
    axis.plot(*boat.goal, "g*", markersize=10)
    axis.set(xlim=(boat.low[0], boat.high[0]), ylim=(boat.low[1], boat.high[1]), aspect="equal")


def _save(figure: Any, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)
    return file
