"""V-OCBF on the boat (arXiv 2512.10822), reproduced with own data: safety, task and certified set, beside five baselines.

Baselines: BC, BC-safe, FISOR-style feasibility weighting (a mixture of Gaussians for FISOR's diffusion model), CCBF (not iDBF),
a distance CBF written by hand; the first four are the papers' methods in our code. All learn offline from one log of a million
transitions, on one thread; what is learned is kept under `runs/boat`. Measured:
* the certified set against the exact value function of the plant (`sets`);
* closed loops of 2 s, 1,000 boats a cell, from water within 0.5 m of a rock (`closed_loop`: BC is the nominal policy of every
  filter; `blind`: one that makes for the goal and never saw a rock), from states the method itself certifies (`own`) and from
  the same states of the exact safe set for all (`common`; `spare`: 5 cm inside it);
* the level delta calibrated for several epsilon, against fresh rollouts (`promises`).

The expectile, the length of a decision and `recovery` were chosen with the exact value in view (expectiles of 0.7 and 0.9 give
away 19 % and 3 % of the safe set, 0.99 calls 15 % of the doomed states safe), so the exact set is no held-out test of them; the
rollouts of `own` and `promises` are fresh. "As published": a row a step, 0.99 a step, expectile 0.9, our optimiser and labels.

Figure: mean distance to the goal over an episode (m, the task's cost) of calibrated V-OCBF, paired with each other method.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.boat.calibration import Calibration, promises
from benchmarks.boat.distance import DistanceBarrier
from benchmarks.boat.geometry import compare
from benchmarks.boat.learning import BoatStudy, Lessons
from benchmarks.boat.pictures import paths, values
from benchmarks.boat.table import RECOVERY, blind, closed_loop, draw, methods
from benchmarks.harness import Result

ROOT = Path("runs/boat")
BOATS, FRESH = 1000, 2000
EPSILON = 0.01
"""The epsilon of the calibrated row of the tables."""


def sets(lessons: Lessons, level: float) -> dict[str, Any]:
    """Every certified set against the exact one."""
    grid = lessons.exact.grid
    h = lessons.boat.margin(grid.nodes)
    vocbf, published = lessons.vocbf, lessons.as_published
    rows = {
        "V-OCBF": compare(vocbf, 0.0, lessons.exact, h),
        "V-OCBF calibrated": compare(vocbf, level, lessons.exact, h),
        "V-OCBF as published": compare(published, 0.0, lessons.exact, h),
        "CCBF": compare(lessons.ccbf, 0.0, lessons.exact, h),
        "distance CBF": compare(DistanceBarrier(lessons.boat), 0.0, lessons.exact, h),
    }
    for name, row in rows.items():
        print(f"   {name:<22}{row}", flush=True)
    return rows


def measure(lessons: Lessons, boats: int, fresh: int, pictures: Path) -> Result:
    """The whole figure."""
    print(f"   dynamics: rms of held-out rates {np.round(lessons.model.error, 4)} m/s", flush=True)
    print("== calibration: target against fresh rollouts", flush=True)
    calibration = Calibration(lessons, lessons.bc, boats, seed=1)
    kept = promises(calibration, fresh)
    found = calibration.level(EPSILON)[0]
    level = found if np.isfinite(found) else 0.0
    print("== certified sets", flush=True)
    shapes = sets(lessons, level)
    print("== closed loops, nominal policy BC", flush=True)
    rows = methods(lessons, level)
    table, runs = closed_loop(lessons, rows, boats, seed=2)
    print("== closed loops, nominal policy blind to rocks", flush=True)
    blind_table, _ = closed_loop(lessons, blind(lessons, level), boats, seed=3)
    starts = draw(lessons.boat, 40, np.random.default_rng(4), lambda s: lessons.exact.values_and_gradients(s)[0] >= 0)
    files = [values(lessons, level, pictures / "values.png"), paths(lessons, rows, starts, pictures / "paths.png")]
    extra = {
        "transitions": len(lessons.log),
        "alpha_per_s": 1.0,
        "recovery_per_s": RECOVERY,
        "dt_s": lessons.boat.dt,
        "decision_s": lessons.boat.dt * lessons.study.hold,
        "delta": level,
        "delta_certified": bool(np.isfinite(found)),
        "dynamics_rms": [round(float(e), 4) for e in lessons.model.error],
        "sets": shapes,
        "closed_loop": table,
        "blind": blind_table,
        "promises": kept,
        "pictures": [str(file) for file in files],
    }
    against = {name: list(run.distance) for name, run in runs.items() if name != "V-OCBF calibrated"}
    return Result("boat", "m", list(runs["V-OCBF calibrated"].distance), against=against, extra=extra)


def main(arguments: Sequence[str] = ()) -> Result:
    """The full study."""
    torch.set_num_threads(1)
    return measure(Lessons(BoatStudy(), ROOT), BOATS, FRESH, ROOT)
