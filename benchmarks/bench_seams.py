"""Where one chunk goes over into the next, with decisions that take 200 ms: success and jerk on the same seeds, in lock-step.

Rows: no delay; 200 ms with each chunk as it comes, inpainted (real-time chunking) and averaged (temporal ensembling); and
synchronous: the next decision begins when the chunk has ended, and the arm waits for it. The monitor is off, the filter on.
Jerk is the third difference of what was wished for, sampled as often as a chunk has rows: its root mean square over four
samples across which the chunk changed, by that over four samples of one chunk. Unit: that ratio, a sample for each episode.
A chunk of few cosine modes has next to no jerk inside: the ratio is large, and compares ways rather than policies.
With what `robot-stack demo` learns, or `python -m benchmarks.bench_seams bundle=FOLDER`; every episode is kept in
`runs/bench/seams-<hash>`: an interrupted run goes on where it was. `seeds=N`: how many (100).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import Result, keep, ledger_rows, store, table
from drivers.scenario import SCENARIOS
from robot_stack.config.commands import DemoCommand
from robot_stack.config.load import load
from robot_stack.demo.cache import stage
from robot_stack.demo.learned import CORE, LOCKSTEP, School, setup_of
from robot_stack.errors import ConfigError
from robot_stack.replay.crew import Setup, autonomous
from robot_stack.replay.lockstep import Episode, Rates
from robot_stack.replay.protections import difference, wilson
from robot_stack.types import ARMED, Array, Step

FIRST_SEED = 9_000
LATE_S, QUICK_S = 0.2, 0.005
SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Way:
    """One row: how long a decision takes, how chunks go over into each other, how often one is made."""

    name: str
    latency_s: float
    seams: str = "as_is"
    policy_hz: float = 5.0
    silent_s: float | None = None


WAYS = (
    Way("no delay", QUICK_S),
    Way("200 ms, as it comes", LATE_S),
    Way("200 ms, inpainted", LATE_S, "inpainted"),
    Way("200 ms, averaged", LATE_S, "averaged"),
    Way("200 ms, synchronous", LATE_S, policy_hz=1.0 / 0.75, silent_s=2.0),
)


def jerks(steps: Sequence[Step]) -> tuple[float, float]:
    """Mean squared jerk (rad^2/s^6) across a change of chunk, and inside a chunk; NaN where there is none."""
    sampled = [(s.verdict.proposed.q, number) for s, number in _numbered(steps)][:: round(SAMPLE_S * 100)]
    if len(sampled) < 4:
        return float("nan"), float("nan")
    q, chunk = np.array([row[0] for row in sampled]), np.array([row[1] for row in sampled])
    jerk: Array = np.sum(np.diff(q, 3, axis=0) ** 2, axis=1) / SAMPLE_S**6
    across = chunk[3:] != chunk[:-3]
    return tuple(float(np.mean(jerk[mask])) if mask.any() else float("nan") for mask in (across, ~across))  # type: ignore[return-value]


def _numbered(steps: Sequence[Step]) -> list[tuple[Step, int]]:
    """The armed ticks that had a wish, each with the number of chunks that had come by then."""
    found, number = [], 0
    for step in steps:
        number += step.inputs.chunk is not None
        if step.verdict.mode in ARMED and step.verdict.proposed is not None:
            found.append((step, number))
    return found


def played(setup: Setup, bundle: Path, way: Way, seed: int) -> dict[str, object]:
    """One episode: how it ended, and its jerks."""
    rates = replace(setup.rates, policy_hz=way.policy_hz, policy_latency_s=(way.latency_s,))
    safety = setup.safety if way.silent_s is None else replace(setup.safety, policy_silent_s=way.silent_s)
    steps: list[Step] = []

    def sink(topic: str, _: int, value: object) -> None:
        if topic == "/arm/verdict" and isinstance(value, Step):
            steps.append(value)

    crew = autonomous(replace(setup, rates=rates, safety=safety, monitor=None, seams=way.seams), bundle)
    outcome = Episode(crew, SCENARIOS["nominal"], seed, sink).run()
    across, inside = jerks(steps)
    return {
        "way": way.name,
        "seed": seed,
        "success": outcome.success,
        "duration_s": outcome.duration_s,
        "limited": outcome.limited,
        "jerk_across": across,
        "jerk_inside": inside,
    }


def rows_of(played_rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """A row for each way: success with its interval, beside no delay in points, and the jerks of all its episodes."""
    by = {way.name: {int(str(r["seed"])): r for r in played_rows if r["way"] == way.name} for way in WAYS}
    first = by[WAYS[0].name]
    found = []
    for name, rows in by.items():
        seeds = sorted(rows.keys() & first.keys())
        won = [bool(rows[s]["success"]) for s in seeds]
        rivals = [bool(first[s]["success"]) for s in seeds]
        across, inside = (float(np.nanmean([rows[s][key] for s in seeds])) for key in ("jerk_across", "jerk_inside"))  # type: ignore[misc]
        found.append(
            {
                "way": name,
                "n": len(seeds),
                "success": sum(won),
                "interval": wilson(sum(won), len(won)),
                "points": 100.0 * (sum(won) - sum(rivals)) / len(seeds),
                "points_interval": [100.0 * end for end in difference(won, rivals)],
                "seam_jerk_ratio": float((across / inside) ** 0.5),
                "jerk_rms": float(inside**0.5),
                "duration_s": float(np.median([float(str(rows[s]["duration_s"])) for s in seeds])),
            }
        )
    return found


def main(arguments: Sequence[str] = ()) -> Result:
    """All episodes that are not there yet, then the table."""
    named = dict(argument.partition("=")[::2] for argument in arguments)
    if unknown := named.keys() - {"bundle", "seeds"}:
        raise ConfigError(f"bench seams: found {sorted(unknown)}, allowed bundle, seeds")
    command = load(DemoCommand)
    bundle = Path(named["bundle"]) if "bundle" in named else School(command).learn().bundle
    setup = setup_of(command, Rates(camera_hz=15.0))
    seeds = range(FIRST_SEED, FIRST_SEED + int(named.get("seeds", 100)))
    folder = stage(Path("runs/bench"), "seams", [setup, str(bundle)], (*CORE, *LOCKSTEP), lambda out: out).folder
    file = folder / "episodes.jsonl"
    rows = list(ledger_rows(file))
    done = {(row["way"], row["seed"]) for row in rows}
    for seed in seeds:
        for way in (way for way in WAYS if (way.name, seed) not in done):
            rows.append(played(setup, bundle, way, seed))
            keep(file, rows[-1])
    kept = [row for row in rows if row["seed"] in seeds]
    ratios = [(row["jerk_across"] / row["jerk_inside"]) ** 0.5 for row in kept if row["jerk_inside"] > 0.0]
    return Result("seams", "1", [ratio for ratio in ratios if np.isfinite(ratio)], extra={"rows": rows_of(kept)})


if __name__ == "__main__":
    answer = main(sys.argv[1:])
    print(table([answer]))
    print(*store([answer]))
