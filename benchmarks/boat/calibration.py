"""The level delta of V-OCBF, calibrated in closed loop for several epsilon, and whether fresh rollouts keep the promise."""

from typing import Any

import numpy as np

from benchmarks.boat.learning import Lessons
from benchmarks.boat.rollout import BoatPolicy, rollout, wilson
from benchmarks.boat.table import RECOVERY, Row, behind, draw
from safety.conformal import certified_level

EPSILONS = (0.10, 0.05, 0.02, 0.01, 0.005)
CONFIDENCE = 0.95
LEVELS = (0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01, 0.0, -0.02, -0.04, -0.06, -0.08, -0.10)
"""Tried from the highest down, m."""


class Calibration:
    """Rollouts of the V-OCBF filter by level, each level tried once and remembered."""

    def __init__(self, lessons: Lessons, policy: BoatPolicy, count: int, seed: int) -> None:
        self._lessons, self._policy, self._count, self._seed = lessons, policy, count, seed
        self._tried: dict[float, tuple[int, int]] = {}

    def trials(self, level: float) -> tuple[int, int]:
        """(violations, rollouts) at `level`, from states with B >= level."""
        if level not in self._tried:
            self._tried[level] = self.fresh(level, self._count, self._seed + 1000 + round(1000 * level))
        return self._tried[level]

    def fresh(self, level: float, count: int, seed: int) -> tuple[int, int]:
        """The same from other start states."""
        lessons = self._lessons
        method = behind("V-OCBF", self._policy, lessons.vocbf, lessons.model, Row(level=level, recovery=RECOVERY))
        starts = draw(lessons.boat, count, np.random.default_rng(10_000 + seed), method.certifies)
        runs = rollout(lessons.boat, starts, self._policy, method.check, lessons.study.hold, seed)
        return int(runs.violated.sum()), len(starts)

    def level(self, epsilon: float) -> tuple[float, float]:
        """delta and the bound it holds with `CONFIDENCE`."""
        return certified_level(LEVELS, self.trials, epsilon, CONFIDENCE)


def promises(calibration: Calibration, count: int) -> list[dict[str, Any]]:
    """Target against measured for every epsilon, over `count` fresh rollouts each."""
    rows = []
    for epsilon in EPSILONS:
        level, bound = calibration.level(epsilon)
        row: dict[str, Any] = {"epsilon": epsilon, "confidence": CONFIDENCE, "delta": level, "bound": round(bound, 4)}
        if np.isfinite(level):
            k, n = calibration.fresh(level, count, 77_000)
            row |= {"violated": k, "n": n, "rate": round(k / n, 4), "wilson95": [round(x, 4) for x in wilson(k, n)]}
            row["kept"] = k / n <= epsilon
        rows.append(row)
        print(f"   {row}", flush=True)
    return rows
