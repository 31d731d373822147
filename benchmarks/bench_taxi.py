"""The taxi and its reachability failure monitor, from tubes to fallback: our own runway, and TinyTaxiNet on X-Plane pictures.

Unit: tube volume, % of [-11, 11] m x +-32 degrees from which the vision controller leaves the runway in 8 s, one sample a test
condition drawn like those the monitor was calibrated for; against perfect state feedback, and against the controller trained on
with the failures that were mined. `extra`: the rest, one key a question. Drawings, and what was trained and is kept: runs/taxi.
What X-Plane needs is in ../shared and is left out, with the reason, where that is absent.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Result
from benchmarks.taxi import figures, study
from benchmarks.taxi.figures import Figures, Sizes
from benchmarks.taxi.scenes import Scene, labelled, morning, operating, runway_scene, train_controllers, xplane_scene
from benchmarks.taxi.tubes import COARSE, Sample, ideal_tube, samples
from drivers.runway import HEIGHT, WIDTH, render
from policies.pose_regressor import PoseRegressor, load_regressor, save_regressor, train_regressor
from robot_stack.demo.cache import stage
from robot_stack.types import Array, Image

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "taxi"
SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", ROOT.parent / "shared")) / "data" / "taxinet"
FULL = Sizes()
CODE = ("drivers/taxi.py", "drivers/runway.py", "policies/pose_regressor.py", "benchmarks/taxi", "safety/monitor_training.py")


def main(arguments: Sequence[str] = (), sizes: Sizes = FULL, runs: Path = RUNS, shared: Path = SHARED) -> Result:
    """The whole study; `sizes` smaller for a test."""
    torch.set_num_threads(1)
    begin = time.process_time()
    runs.mkdir(parents=True, exist_ok=True)
    fine, ideal = figures.ideal_figures()
    extra: Figures = {}
    _say(extra, "ideal", ideal)
    _say(extra, "braking_tube_3d", figures.braking_tube())
    controllers = _kept(runs, "controllers", sizes, lambda: train_controllers(sizes.ensemble, sizes.pictures, sizes.steps))
    train, tests = _scene_study(runway_scene(controllers), fine, sizes, runs, extra)
    after = _trained_on(controllers[0], train, sizes, runs)
    _say(extra, "tube_%_after_training_on", figures.incremental_figures(tests, after))
    if shared.is_dir():
        _scene_study(xplane_scene(shared, sizes.pictures, sizes.steps), fine, sizes, runs, extra)
    else:
        _say(extra, "xplane", f"skipped: no networks at {shared} (set ROBOT_STACK_SHARED)")
    _say(extra, "cpu_s_of_this_run", round(time.process_time() - begin))
    print(f"drawings: {runs}/*.png")
    against = {"ideal": [ideal["grid_%"]], "after mined": figures.volumes(after["mined"]["known"])}
    return Result("taxi", "%", figures.volumes(tests["known"]), against, extra)


def _scene_study(
    scene: Scene, fine: Array, sizes: Sizes, runs: Path, extra: Figures
) -> tuple[Sequence[Sample], Mapping[str, Sequence[Sample]]]:
    """Everything of one scene into `extra`, under its name; the conditions the monitor was trained on, and the sets of tests."""
    coarse = ideal_tube(COARSE[0])
    phi, named = figures.named_tubes(scene, fine, runs)
    _say(extra, f"{scene.name}_tube_%", named)
    if scene.name == "runway":
        _say(extra, "slower_alone_%", figures.speed_figures(phi["21:00"]))
    train = samples(scene, scene.known, sizes.train, sizes.train_pictures, 10, coarse)
    kept = stage(
        runs, f"{scene.name}_monitors", sizes, CODE, lambda out: study.train_both(train, out, sizes.monitor_steps)
    ).folder
    folders = {"monitor": kept / "monitor", "error labels": kept / "error"}
    tests, threshold, found = figures.monitor_figures(scene, train, folders, coarse, sizes, runs)
    for name, values in found.items():
        _say(extra, f"{scene.name}_monitor_{name}", values)
    _say(extra, f"{scene.name}_labels", figures.truth_figures(scene, tests["known"][: sizes.driven]))
    for name, parts in tests.items():
        _say(extra, f"{scene.name}_fallback_{name}", figures.fallback_figures(parts, folders["monitor"], threshold, sizes.driven))
    return train, tests


def _trained_on(
    first: PoseRegressor, train: Sequence[Sample], sizes: Sizes, runs: Path
) -> Mapping[str, Mapping[str, Sequence[Sample]]]:
    """The test conditions under controllers trained on with mined failures, and with as many pictures drawn at random."""
    coarse = ideal_tube(COARSE[0])
    clear = labelled(render, morning, sizes.pictures, np.random.default_rng(0))
    failures = figures.mined(train)
    at_random = labelled(render, operating, len(failures[0]), np.random.default_rng(3))
    result = {}
    for kind, (pictures, states) in {"mined": failures, "random": at_random}.items():
        both = np.concatenate([clear[0], pictures]), np.concatenate([clear[1], states])

        def train_on(data: tuple[Image, Array] = both) -> tuple[PoseRegressor, ...]:
            return (train_regressor(*data, sizes.steps, start=first, lr=1e-3),)

        new = runway_scene(_kept(runs, f"trained_on_{kind}", sizes, train_on))
        draws = {"known": (new.known, 12)} | {name: (draw, 13) for name, draw in new.shifts.items()}
        result[kind] = {
            name: samples(new, draw, sizes.retested, sizes.test_pictures, seed, coarse) for name, (draw, seed) in draws.items()
        }
    return result


def _kept(runs: Path, name: str, sizes: Sizes, make: Callable[[], tuple[PoseRegressor, ...]]) -> tuple[PoseRegressor, ...]:
    """Networks trained once and kept under a hash of what they were made from."""

    def write(folder: Path) -> None:
        for i, network in enumerate(make()):
            save_regressor(network, folder / f"{i}.safetensors")

    folder = stage(runs, name, sizes, CODE, write).folder
    return tuple(load_regressor(path, (HEIGHT, WIDTH)) for path in sorted(folder.glob("*.safetensors")))


def _say(extra: Figures, name: str, values: object) -> None:
    """Into `extra`, and on the screen at once: the whole takes minutes."""
    extra[name] = values
    print(f"{name}: {values}", flush=True)
