"""Drawings of the taxi study: tubes side by side, ROC curves, mined failures with their labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.taxi.tubes import Sample, tube_grid
from robot_stack.types import Array

EXTENT = (-11.0, 11.0, -32.0, 32.0)


def draw_tubes(tubes: Mapping[str, Array], ideal: Array, path: Path) -> None:
    """One panel a tube {V <= 0} (red), the ideal one outlined in black; each V at the nodes of a square grid."""
    columns = min(4, len(tubes))
    rows = -(-len(tubes) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 3.0 * rows), squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(tubes) :]:
        axis.set_visible(False)
    for axis, (name, value) in zip(axes.flat, tubes.items(), strict=False):
        n = round(len(value) ** 0.5)
        axis.imshow(value.reshape(n, n).T <= 0.0, origin="lower", extent=EXTENT, aspect="auto", cmap="Reds", vmin=0.0, vmax=1.6)
        m = round(len(ideal) ** 0.5)
        px, th = tube_grid(m).nodes.T.reshape(2, m, m)
        axis.contour(px, np.degrees(th), ideal.reshape(m, m), levels=[0.0], colors="black", linewidths=1.0)
        axis.tick_params(labelbottom=True)
        axis.set_title(f"{name}: {100 * np.mean(value <= 0):.1f} %", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("crosstrack error, m")
    for axis in axes[:, 0]:
        axis.set_ylabel("heading error, degrees")
    _write(figure, path)


def draw_roc(curves: Mapping[str, Mapping[str, tuple[Array, Array, float]]], path: Path) -> None:
    """One panel a set of conditions: (false alarms, detected, AUC) of each score."""
    figure, axes = plt.subplots(1, len(curves), figsize=(3.4 * len(curves), 3.4), squeeze=False, sharey=True)
    for axis, (name, found) in zip(axes[0], curves.items(), strict=True):
        for label, (false_alarm, detected, area) in found.items():
            axis.plot(false_alarm, detected, label=f"{label} {area:.3f}", linewidth=1.4)
        axis.plot([0, 1], [0, 1], color="0.8", linewidth=0.8)
        axis.set(title=name, xlabel="false alarms", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axis.legend(title="AUC", fontsize=7, title_fontsize=7, loc="lower right")
    axes[0, 0].set_ylabel("failures detected")
    _write(figure, path)


def draw_mined(parts: Sequence[Sample], path: Path, count: int = 24, seed: int = 0) -> None:
    """Random pictures whose state is lost under vision and safe under the ideal law; truth and estimate above each."""
    found = [(s, i) for s in parts for i in np.flatnonzero(s.failing & ~s.ideal_failing)]
    if not found:
        return
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    figure, axes = plt.subplots(-(-count // 6), 6, figsize=(13.0, 1.5 * -(-count // 6)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, k in zip(axes.flat, chosen, strict=False):
        s, i = found[k]
        axis.imshow(s.pictures[i], aspect="auto")
        (px, th), (cte, he) = s.states[i], s.estimates[0, i]
        axis.set_title(f"is {px:+.1f} m {np.degrees(th):+.0f}°, said {cte:+.1f} m {np.degrees(he):+.0f}°", fontsize=6.5)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
