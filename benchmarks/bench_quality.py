"""Faults planted in episodes, and which of them the labeller `quality` finds: precision and recall, over seeds.

Of 48 episodes 8 are held out; among the other 40, 5 are corrupted as RIQL's benchmark does it, 3 are copies of others (rounded,
perhaps a row short), and 2 of the held out are pieces of them. Episodes: made up (smooth strokes with pauses), and the 20 real
ones of `g1_bottle` with a half of each fault. `extra.rows`: by data and by how much is corrupted, means over `SEEDS`.
Samples: seconds of processor time for one look at all episodes.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result
from benchmarks.planted_episodes import Planted, plant, precision_recall, teleoperation
from robot_stack.config.labellers import QualitySettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.relabel.likeness import leaks, near_duplicates
from robot_stack.relabel.motion import Motion, motion_of
from robot_stack.relabel.quality import quality

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data" / "g1_bottle"
SEEDS = range(3)
STRENGTHS = ((0.3, 1.0), (0.1, 1.0), (0.3, 0.3), (0.1, 0.3), (0.1, 0.1), (0.03, 0.3))
"""Share of rows, and of the standard deviation, of RIQL's corruption; the first is its own."""


def main(arguments: Sequence[str] = ()) -> Result:
    """The table."""
    samples: list[float] = []
    rows = [row("made up", rate, scale, [made(seed, rate, scale) for seed in SEEDS], samples) for rate, scale in STRENGTHS]
    if SHARED.is_dir():
        catalogue = Catalogue.open(SHARED)
        motions = [motion_of(catalogue.recording(entry)) for entry in catalogue.entries()]
        rows += [row("g1_bottle", *s, [real(motions, seed, *s) for seed in SEEDS], samples) for s in STRENGTHS]
    return Result("quality", "s", samples, extra={"rows": rows})


def made(seed: int, rate: float, scale: float) -> Planted:
    """Faults in made-up episodes."""
    return plant(teleoperation(48, seed=seed), seed, rate=rate, scale=scale)


def real(motions: Sequence[Motion], seed: int, rate: float, scale: float) -> Planted:
    """Faults in real ones, in another order for each seed."""
    order = np.random.default_rng([seed, 2]).permutation(len(motions))
    return plant([motions[i] for i in order], seed, held_out=4, corrupt=3, twins=2, leaked=1, rate=rate, scale=scale)


def row(data: str, rate: float, scale: float, cases: Sequence[Planted], samples: list[float]) -> dict[str, Any]:
    """Mean precision and recall of each kind of fault."""
    scores: dict[str, list[tuple[float, float]]] = {"corrupt": [], "twins": [], "leaked": []}
    for case in cases:
        begin = time.process_time()
        found = quality([*case.kept, *case.held], QualitySettings(holdout=len(case.held)))
        samples.append(time.process_time() - begin)
        accused = {e.name for e in found.episodes if e.steps.corrupt}
        pairs = {frozenset((p.one, p.other)) for p in near_duplicates(case.kept)}
        scores["corrupt"].append(precision_recall(accused, case.corrupt))
        scores["twins"].append(precision_recall(pairs, case.twins))
        scores["leaked"].append(precision_recall({p.one for p in leaks(case.kept, case.held)}, case.leaked))
    means = {name: [round(float(x), 3) for x in np.mean(found, axis=0)] for name, found in scores.items()}
    return {"data": data, "rows_corrupted": rate, "by_std": scale, "n": len(cases), "precision_recall": means}
