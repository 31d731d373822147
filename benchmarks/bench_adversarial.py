"""A million adversarial streams through the real `control_step` and `SafetyLayer` of sim_arm: none may get out, none may raise.

`robot-stack bench adversarial`, or with other numbers `python -m benchmarks.bench_adversarial STREAMS PROCESSES`. What a stream
is, and what counts as out of limits: `benchmarks.adversary`. Batches of 1,000 streams, one seed each; finished ones are kept in
runs/adversarial/ under a hash of the code they tested, so that an interrupted run goes on where it was and no run mixes versions.
Unit: microseconds of one tick with the adversary's own work, mean of a batch.
"""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.adversary import Adversary, excess
from benchmarks.harness import Result, keep, ledger_rows, store, table
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from safety.layer import SafetyLayer

STREAMS = 1_000_000
PROCESSES = 2
BATCH = 1_000
ROOT = Path(__file__).resolve().parent.parent
TESTED = (
    "safety/*.py",
    "robot_stack/*.py",
    "robot_stack/config/*.py",
    "robot_stack/config/robots/sim_arm.yaml",
    "benchmarks/adversary.py",
)
COUNTS = ("streams", "ticks", "out_of_limits", "exceptions")
WORST = ("position", "velocity", "acceleration", "not_as_integrated")


def code_hash() -> str:
    """What was tested, in 12 hexadecimal digits."""
    files = sorted(file for pattern in TESTED for file in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def batch(seed: int) -> dict[str, Any]:
    """1,000 streams of one seed: the tally."""
    spec = load_robot("sim_arm")
    layer = SafetyLayer(spec, SafetySettings())
    begin = time.perf_counter()
    record = Adversary(spec, layer, seed).run(BATCH)
    seconds = time.perf_counter() - begin
    tally = excess(record, spec)._asdict()
    return {"seed": seed, "streams": record.streams, "ticks": len(record.q), "seconds": seconds, **tally} | {
        "exceptions": len(record.exceptions), "first": record.exceptions[:3], "seen": dict(record.seen),
    }  # fmt: skip


def run(streams: int, processes: int, folder: Path = ROOT / "runs" / "adversarial") -> list[dict[str, Any]]:
    """The tallies of seeds 0, 1, ... that make up at least `streams`; those that are on disk already are not run again."""
    file = folder / f"{code_hash()}.jsonl"
    done, wanted = {one["seed"]: one for one in ledger_rows(file)}, range(-(-streams // BATCH))
    missing = [seed for seed in wanted if seed not in done]
    with ProcessPoolExecutor(processes) as pool:
        for one in tqdm(pool.map(batch, missing), total=len(missing), desc=f"adversarial, {BATCH} streams each", unit="batch"):
            done[one["seed"]] = one
            keep(file, one)
            if one["exceptions"] or one["out_of_limits"]:
                tqdm.write(f"adversarial: seed {one['seed']}: {one['out_of_limits']} out of limits; {one['first']}")
    return [done[seed] for seed in wanted]


def summed(batches: Sequence[dict[str, Any]]) -> Result:
    """The figure of many tallies."""
    seen = sum((Counter(one["seen"]) for one in batches), Counter[str]())
    extra: dict[str, Any] = {
        name: sum(one[name] for one in batches) for name in ("streams", "ticks", "out_of_limits", "exceptions")
    }
    extra |= {f"worst_{name}": max(one[name] for one in batches) for name in WORST}
    extra |= {"tested": code_hash(), "first_exceptions": [x for one in batches for x in one["first"]][:3]}
    for kind in ("source", "attack", "clock", "fault", "mode", "decision", "solver"):
        extra[kind] = {name.removeprefix(kind + " "): n for name, n in sorted(seen.items()) if name.startswith(kind + " ")}
    samples = [one["seconds"] / one["ticks"] * 1e6 for one in batches]
    return Result("adversarial", "us", samples, extra=extra)


def main(arguments: Sequence[str] = ()) -> Result:
    """`arguments`: how many streams (1,000,000) and processes (2)."""
    streams, processes = [int(x) for x in arguments] + [STREAMS, PROCESSES][len(arguments) :]
    return summed(run(streams, processes))


if __name__ == "__main__":
    answer = main(sys.argv[1:])
    print(table([answer]))
    print(*store([answer]))
