"""Off-policy evaluation of the fifteen policies of `ope_boat`, whose values are known, from logs of one of them.

Samples: |estimate - true value| of FQE, a share of best minus worst true value, for every other policy on every log; `against`:
the other estimators on the same logs (`-n`: self-normalised). `extra` per estimator, means over logs: rank correlations, regret@k
(share of best minus worst), SharpeRatio@3, CPU seconds a policy, and how often the 95 % interval holds the true value: as
bootstrapped, and `WIDENED` times as wide. The behaviour policy is a candidate with its on-policy mean. "constant" puts all at
that mean: what knowing nothing scores.

The estimators' settings and `WIDENED` were chosen on the logs of seeds 100 to 103; the figures are of seeds never looked at
before, from `FIRST` on. What is done is kept in `runs/ope`, so that an interrupted run goes on where it stopped.
"""

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.harness import Result, keep, ledger_rows, store, table
from benchmarks.ope_boat import BEHAVIOUR, DECISIONS, ROWERS, Rower, logged, true_value
from robot_stack.replay.ope.estimate import Estimator, Evaluation, estimate
from robot_stack.replay.ope.ranking import rank_correlation, regret, sharpe_ratio

LOGS, FIRST, EPISODES, TRUE_EPISODES, WIDENED = 8, 2000, 200, 10_000, Evaluation().widen
HOW = Evaluation(draws=4, bootstraps=40, widen=1.0)
NORMALISED = replace(HOW, self_normalised=True)
VARIANTS = {e.value: (e, HOW) for e in Estimator} | {f"{e.value}-n": (e, NORMALISED) for e in (Estimator.PDIS, Estimator.DR)}
ROOT = Path(__file__).resolve().parent.parent
EVALUATED = ("robot_stack/replay/ope/*.py", "benchmarks/*ope*.py", "drivers/boat.py")
INTERVALS = {"interval_holds": 1.0, "interval_holds_widened": WIDENED}


@dataclass(frozen=True)
class Score:
    """One estimator on the log of one seed: of each policy but the behaviour's the value and its interval, (P, 3)."""

    seed: int
    variant: str
    behaviour: float
    found: list[list[float]]
    cpu_s: float

    @property
    def values(self) -> list[float]:
        """Of all candidates, the behaviour policy first with its on-policy mean."""
        return [self.behaviour, *(value for value, _, _ in self.found)]

    def holds(self, true: Sequence[float], widened: float) -> float:
        """The share of intervals, `widened` times as wide, that hold the true value."""
        held = [
            v - widened * (v - low) <= t <= v + widened * (high - v)
            for (v, low, high), t in zip(self.found, true[1:], strict=True)
        ]
        return float(np.mean(held))


def code_hash() -> str:
    """What is evaluated, in 12 hexadecimal digits: other code begins anew."""
    files = sorted(file for pattern in EVALUATED for file in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def scores(
    rowers: Sequence[Rower], seeds: Sequence[int], episodes: int, variants: Mapping[str, tuple[Estimator, Evaluation]], file: Path
) -> list[Score]:
    """Every estimator on the log of every seed; those that are in `file` are not run again."""
    done = {(row["seed"], row["variant"]): Score(**row) for row in ledger_rows(file)}
    missing = [(seed, name) for seed in seeds for name in variants if (seed, name) not in done]
    for seed, name in tqdm(missing, desc="off-policy evaluation", unit="log x estimator"):
        data, (estimator, how) = logged(BEHAVIOUR, episodes, seed), variants[name]
        begin = time.process_time()
        found = [estimate(data, rower.target(), estimator, how) for rower in rowers[1:]]
        cpu_s = (time.process_time() - begin) / len(found)
        row = Score(seed, name, float(data.returns().mean()), [[e.value, e.low, e.high] for e in found], cpu_s)
        done[seed, name] = row
        keep(file, row.__dict__)
    return [done[seed, name] for seed in seeds for name in variants]


def ranked(scores: Sequence[Score], true: Sequence[float]) -> dict[str, Any]:
    """Means over logs."""
    orders = [rank_correlation(s.values, true) for s in scores]
    figures = {
        "spearman": [o.spearman for o in orders],
        "kendall": [o.kendall for o in orders],
        "regret@1": [regret(s.values, true, 1) for s in scores],
        "regret@3": [regret(s.values, true, 3) for s in scores],
        "sharpe_ratio@3": [sharpe_ratio(s.values, true, 0, 3) for s in scores],
        "cpu_s": [s.cpu_s for s in scores],
    }
    figures |= {name: [s.holds(true, widened) for s in scores] for name, widened in INTERVALS.items()}
    return {name: round(float(np.mean(values)), 3) for name, values in figures.items()}


def main(
    arguments: Sequence[str] = (),
    rowers: Sequence[Rower] = ROWERS,
    episodes: int = EPISODES,
    variants: Mapping[str, tuple[Estimator, Evaluation]] = VARIANTS,
    folder: Path = ROOT / "runs" / "ope",
) -> Result:
    """`arguments`: how many logs (8) and the seed of the first; the true values are simulated."""
    logs, first = [int(x) for x in arguments] + [LOGS, FIRST][len(arguments) :]
    known = [true_value(rower, TRUE_EPISODES) for rower in rowers]
    true = [value for value, _ in known]
    all_of = scores(rowers, range(first, first + logs), episodes, variants, folder / f"{code_hash()}-{episodes}.jsonl")
    by_name = {name: [s for s in all_of if s.variant == name] for name in variants}
    extra = {name: ranked(of, true) for name, of in by_name.items()} | {
        "sharpe_ratio@3 of a perfect order": round(sharpe_ratio(true, true, 0, 3), 3),
        "constant": round(float(np.mean([abs(v - true[0]) for v in true[1:]]) / np.ptp(true)), 3),
        "logs": logs,
        "first_seed": first,
        "episodes": episodes,
        "decisions": DECISIONS,
        "true_values": {r.name: round(v, 3) for r, v in zip(rowers, true, strict=True)},
        "largest_standard_error": round(max(error for _, error in known), 4),
    }
    spread = float(np.ptp(true))
    errors = {
        name: [abs(v - t) / spread for s in of for v, t in zip(s.values[1:], true[1:], strict=True)]
        for name, of in by_name.items()
    }
    return Result("ope", "share of best - worst", errors.pop("fqe"), against=errors, extra=extra)


if __name__ == "__main__":
    answer = main(sys.argv[1:])
    print(table([answer]))
    print(*store([answer]))
