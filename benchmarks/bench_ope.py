"""Off-policy evaluation of the fifteen policies of `ope_boat`, whose values are known, from logs of one of them.

Samples: |estimate - true value| of FQE, a share of best minus worst true value, for every other policy on every log; `against`:
the other estimators on the same logs (`-n`: self-normalised). `extra` per estimator, means over logs: rank correlations, regret@k
(share of best minus worst), SharpeRatio@3, how often the 95 % interval holds the true value, and CPU seconds a policy.
The behaviour policy is a candidate with its on-policy mean. "constant" puts all at that mean: what knowing nothing scores.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.harness import Result
from benchmarks.ope_boat import BEHAVIOUR, DECISIONS, ROWERS, Rower, logged, true_value
from robot_stack.replay.ope.estimate import Estimate, Estimator, Evaluation, estimate
from robot_stack.replay.ope.logged import LoggedData
from robot_stack.replay.ope.ranking import rank_correlation, regret, sharpe_ratio

LOGS, EPISODES, TRUE_EPISODES = 4, 200, 10_000
HOW = Evaluation(draws=4, bootstraps=40)
NORMALISED = replace(HOW, self_normalised=True)
VARIANTS = {e.value: (e, HOW) for e in Estimator} | {f"{e.value}-n": (e, NORMALISED) for e in (Estimator.PDIS, Estimator.DR)}


@dataclass(frozen=True)
class Score:
    """One estimator on one log: estimates of all policies, the behaviour policy first with its on-policy mean."""

    values: list[float]
    errors: list[float]
    held: list[bool]
    seconds: float


def scored(data: LoggedData, rowers: Sequence[Rower], true: Sequence[float], estimator: Estimator, how: Evaluation) -> Score:
    """Every policy but the first, which made `data`."""
    begin = time.process_time()
    found: list[Estimate] = [estimate(data, rower.target(), estimator, how) for rower in rowers[1:]]
    seconds = (time.process_time() - begin) / len(found)
    spread = max(true) - min(true)
    return Score(
        values=[float(data.returns().mean()), *(e.value for e in found)],
        errors=[abs(e.value - v) / spread for e, v in zip(found, true[1:], strict=True)],
        held=[e.low <= v <= e.high for e, v in zip(found, true[1:], strict=True)],
        seconds=seconds,
    )


def ranked(scores: Sequence[Score], true: Sequence[float]) -> dict[str, Any]:
    """Means over logs."""
    orders = [rank_correlation(s.values, true) for s in scores]
    figures = {
        "spearman": [o.spearman for o in orders],
        "kendall": [o.kendall for o in orders],
        "regret@1": [regret(s.values, true, 1) for s in scores],
        "regret@3": [regret(s.values, true, 3) for s in scores],
        "sharpe_ratio@3": [sharpe_ratio(s.values, true, 0, 3) for s in scores],
        "interval_holds": [float(np.mean(s.held)) for s in scores],
        "cpu_s": [s.seconds for s in scores],
    }
    return {name: round(float(np.mean(values)), 3) for name, values in figures.items()}


def main(
    arguments: Sequence[str] = (),
    rowers: Sequence[Rower] = ROWERS,
    logs: int = LOGS,
    episodes: int = EPISODES,
    variants: Mapping[str, tuple[Estimator, Evaluation]] = VARIANTS,
) -> Result:
    """`logs` logs of `episodes` episodes each; the true values are simulated."""
    known = [true_value(rower, TRUE_EPISODES) for rower in rowers]
    true = [value for value, _ in known]
    scores: dict[str, list[Score]] = {name: [] for name in variants}
    for seed in range(logs):
        data = logged(BEHAVIOUR, episodes, 100 + seed)
        for name, (estimator, how) in tqdm(variants.items(), desc=f"log {seed}", leave=False):
            scores[name].append(scored(data, rowers, true, estimator, how))
    best = sharpe_ratio(true, true, 0, 3)
    extra = {name: ranked(of, true) for name, of in scores.items()} | {
        "sharpe_ratio@3 of a perfect order": round(best, 3),
        "constant": round(float(np.mean([abs(v - true[0]) for v in true[1:]]) / np.ptp(true)), 3),
        "logs": logs,
        "episodes": episodes,
        "decisions": DECISIONS,
        "true_values": {r.name: round(v, 3) for r, v in zip(rowers, true, strict=True)},
        "largest_standard_error": round(max(error for _, error in known), 4),
    }
    errors = {name: [e for score in of for e in score.errors] for name, of in scores.items()}
    return Result("ope", "share of best - worst", errors.pop("fqe"), against=errors, extra=extra)
