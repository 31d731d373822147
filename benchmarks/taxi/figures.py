"""The figures of one scene, and those that only our own runway has. Every function returns numbers to print and to store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.taxi import study
from benchmarks.taxi.closed_loop import USUAL, Mask, drive
from benchmarks.taxi.pictures import draw_mined, draw_roc, draw_tubes
from benchmarks.taxi.scenes import Scene
from benchmarks.taxi.tubes import (
    COARSE,
    FINE,
    HORIZON_S,
    Sample,
    ideal_tube,
    samples,
    table_grid,
    tube_grid,
    vision_tube,
)
from drivers import taxi
from robot_stack.types import Array
from safety.monitor import Classifier
from safety.reachability import StateGrid, agreement, backward_tube, simulated_tube, volume

Figures = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is done: controllers of `pictures` and `steps`; conditions to train, calibrate, test (each shift: `shifted`), with
    `train_pictures` and `test_pictures` each; `monitor_steps`; conditions `driven` with the fallback,
    and `retested` after training on."""

    pictures: int = 4000
    steps: int = 900
    ensemble: int = 3
    train: int = 60
    train_pictures: int = 150
    monitor_steps: int = 800
    calibrate: int = 100
    test: int = 100
    shifted: int = 40
    test_pictures: int = 40
    driven: int = 20
    retested: int = 25


def percent(share: float | np.floating[Any]) -> float:
    """A share in percent, to two digits."""
    return round(100.0 * float(share), 2)


def ideal_figures() -> tuple[Array, Figures]:
    """The tube of perfect state feedback, by the grid solver and by forward simulation."""
    grid, value = tube_grid(FINE[0]), ideal_tube()
    truth = simulated_tube(grid.nodes, taxi.ideal_drift, taxi.margin, HORIZON_S, taxi.DT)
    found = agreement(value, truth)
    figures = {"grid_%": percent(volume(value)), "simulated_%": percent(volume(truth)), "iou": round(found.iou, 4)}
    return value, figures | {"false_safe": found.false_safe, "largest_difference_m": round(float(np.abs(value - truth).max()), 3)}


def named_tubes(scene: Scene, ideal: Array, folder: Path) -> tuple[dict[str, Array], Figures]:
    """Tube volume (%) under each named condition, pictures taken on the fine table."""
    rng = np.random.default_rng(1)
    phi = {
        name: taxi.steering(scene.estimate(scene.picture(table_grid(FINE[1]).nodes, condition, rng)))
        for name, condition in scene.named.items()
    }
    tubes = {name: vision_tube(p, FINE) for name, p in phi.items()}
    draw_tubes({"ideal": ideal} | tubes, ideal, folder / f"{scene.name}_tubes.png")
    return phi, {name: percent(volume(value)) for name, value in tubes.items()}


def speed_figures(phi: Array) -> Figures:
    """The tube at full and at half speed, over the same way: slowing down alone."""
    half = taxi.SPEED / 2
    values = {"5 m/s, 16 s": vision_tube(phi, FINE, 16.0), "2.5 m/s, 32 s": vision_tube(phi, FINE, 32.0, half)}
    values["2.5 m/s, 8 s"] = vision_tube(phi, FINE, 8.0, half)
    return {name: percent(volume(value)) for name, value in values.items()}


def truth_figures(scene: Scene, parts: Sequence[Sample], count: int = 30) -> Figures:
    """Labels against closed loops with a fresh picture at every step: share of runs that end as labelled."""
    rng, same, missed = np.random.default_rng(2), [], []
    for s in parts:

        def steer(states: Array, condition: Any = s.condition) -> Array:
            return taxi.steering(scene.estimate(scene.picture(states, condition, rng)))

        failed = drive(s.states[:count], steer, None).failed
        same.append(failed == s.failing[:count])
        missed.append(~s.failing[:count][failed])
    both = np.concatenate(same)
    return {
        "runs": len(both),
        "agree_%": percent(both.mean()),
        "failed_but_labelled_safe_%": percent(np.concatenate(missed).mean()),
    }


def monitor_figures(
    scene: Scene, train: Sequence[Sample], folders: Mapping[str, Path], ideal: Array, sizes: Sizes, folder: Path
) -> tuple[dict[str, list[Sample]], float, Figures]:
    """Calibrate on fresh conditions, verify on others drawn alike and on each shift; returns the tests and the threshold too."""
    calibration = samples(scene, scene.known, sizes.calibrate, sizes.test_pictures, 11, ideal)
    thresholds = study.calibrate(calibration, study.scores(calibration, folders))
    tests = {"known": samples(scene, scene.known, sizes.test, sizes.test_pictures, 12, ideal, sizes.driven)}
    for name, draw in scene.shifts.items():
        tests[name] = samples(scene, draw, sizes.shifted, sizes.test_pictures, 13, ideal, sizes.driven)
    found = {name: study.scores(parts, folders) for name, parts in tests.items()}
    figures: Figures = {"alpha": study.ALPHA, "confidence": study.CONFIDENCE, "certified": round(thresholds["monitor"][1], 4)}
    for name, parts in tests.items():
        figures[name] = {k: _short(study.verify(parts, found[name], k, t)) for k, (t, _) in thresholds.items()}
    curves = {
        name: {k: (*study.roc(parts, found[name], k), figures[name][k]["auc"]) for k in thresholds}
        for name, parts in tests.items()
    }
    draw_roc(curves, folder / f"{scene.name}_roc.png")
    draw_mined([s for parts in tests.values() for s in parts], folder / f"{scene.name}_mined.png")
    return tests, thresholds["monitor"][0], figures


def _short(values: Mapping[str, float]) -> Figures:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def fallback_figures(parts: Sequence[Sample], classifier: Path, threshold: float, count: int) -> Figures:
    """Share (%) of the domain that leaves the runway in `count` conditions: vision alone, monitor and fallback, fallback at once;
    how often the monitor stops a run that vision would have finished; the same with worse dead reckoning."""
    judge, grid, table = Classifier(classifier), tube_grid(31), table_grid(COARSE[1])
    rows = []
    for k, s in enumerate(parts[:count]):
        danger = study.score(judge, s.table)

        def steer(x: Array, phi: Array = s.phi) -> Array:
            return table.interpolate(phi, x)

        def alarm(x: Array, danger: Array = danger) -> Mask:
            return np.asarray(table.interpolate(danger, x) > threshold)

        alone, saved = drive(grid.nodes, steer, None, k), drive(grid.nodes, steer, alarm, k)
        at_once = drive(grid.nodes, steer, lambda x: np.ones(len(x), bool), k)
        worse = drive(grid.nodes, steer, alarm, k, USUAL.times(4.0))
        stopped = float(np.mean(saved.alarmed[~alone.failed]))
        rows.append(
            (alone.failed.mean(), saved.failed.mean(), at_once.failed.mean(), worse.failed.mean(), stopped, saved.off.max())
        )
    *shares, off = np.mean(rows, axis=0)
    names = ("vision_%", "monitor_and_fallback_%", "fallback_at_once_%", "odometry_4x_worse_%", "needless_stops_%")
    return dict(zip(names, map(percent, shares), strict=True)) | {"largest_odometry_error_m": round(float(off), 2)}


def braking_tube() -> Figures:
    """The fallback with perfect odometry as a tube in three dimensions (px, th, v), seen at full speed."""
    plane = tube_grid(61)
    grid = StateGrid((*plane.lower, 0.0), (*plane.upper, 6.0), (61, 61, 13))

    def drift(x: Array) -> Array:
        planar = taxi.drift(x[:, :2], taxi.steering(x[:, :2]), 1.0) * np.maximum(x[:, 2:], 0.0)
        return np.concatenate([planar, np.where(x[:, 2:] > 0.0, -2.0, 0.0)], axis=1)

    value = backward_tube(grid, drift(grid.nodes), taxi.margin(grid.nodes), 3.5)
    start = np.concatenate([plane.nodes, np.full((len(plane.nodes), 1), taxi.SPEED)], axis=1)
    truth = simulated_tube(start, drift, taxi.margin, 3.5, 0.01)
    here = grid.interpolate(value, start)
    return {"grid_%": percent(volume(here)), "simulated_%": percent(volume(truth)), "iou": round(agreement(here, truth).iou, 4)}


def mined(parts: Sequence[Sample]) -> tuple[Any, Array]:
    """Pictures and true states that fail under vision and not under the ideal law."""
    chosen = [s.failing & ~s.ideal_failing for s in parts]
    pictures = np.concatenate([s.pictures[c] for s, c in zip(parts, chosen, strict=True)])
    return pictures, np.concatenate([s.states[c] for s, c in zip(parts, chosen, strict=True)])


def volumes(parts: Sequence[Sample]) -> list[float]:
    """Tube volume (%) of every condition."""
    return [percent(volume(s.value)) for s in parts]


def incremental_figures(before: Mapping[str, Sequence[Sample]], after: Mapping[str, Mapping[str, Sequence[Sample]]]) -> Figures:
    """Mean tube volume (%) of each set of conditions before, and after training on with each kind of new pictures."""
    figures: Figures = {}
    for name, parts in before.items():
        same = parts[: min(len(sets[name]) for sets in after.values())]
        figures[name] = {"before": round(float(np.mean(volumes(same))), 2)} | {
            kind: round(float(np.mean(volumes(sets[name]))), 2) for kind, sets in after.items()
        }
    return figures
