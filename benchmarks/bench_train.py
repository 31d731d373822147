"""Samples a processor second of a training on `g1_bottle`, the recipe for recorded data, all its processes counted.

Against it: without the thread that draws batches ahead, in full precision, and as two processes that torchrun starts, with copies
of the weights (DDP) and with one copy cut up (FSDP). `extra.rows` has of each the share of time spent waiting for batches, its
samples a second in TensorBoard's log, which depend on what else the machine does, and its running loss at the end: with two
processes that of one which draws the batch in two parts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import policies.train
from benchmarks.harness import Result
from policies.watch import EVENTS, Watch
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import TrainSettings
from robot_stack.data.lerobot import read_lerobot

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", ROOT.parent / "shared")) / "data" / "g1_bottle"
EPISODES, STEPS, EVERY = 4, 60, 10
CACHE = Path("runs/bench/loader-cache")
VARIANTS: Mapping[str, tuple[int, Sequence[str]]] = {
    "": (1, ["train.parts=2"]),
    "drawn by the same thread": (1, ["train.parts=2", "train.prefetch=false"]),
    "in full precision": (1, ["train.parts=2", "train.bfloat16=false"]),
    "two processes, DDP": (2, []),
    "two processes, FSDP": (2, ["train.sharded=true"]),
}


def main(arguments: Sequence[str] = ()) -> Result:
    """Every variant; `arguments`: how many steps each."""
    steps = int(arguments[0]) if arguments else STEPS
    rows, samples = {}, {}
    for name, (processes, asked) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as out:
            _start(Path(out), processes, [f"train.steps={steps}", f"train.log_every={EVERY}", *asked])
            found, samples[name] = logged(Path(out)), _rates(Path(out))
        rows[name or "one process"] = {
            "samples_per_s": statistics.median(found["samples_per_s"][1:]),
            "waiting_share": statistics.median(found["waiting_share"][1:]),
            "last_loss": found["loss"][-1],
        }
    return Result(
        "training_throughput", "samples/processor s", samples.pop(""), against=samples, extra={"rows": rows, "steps": steps}
    )


class Timed(Watch):
    """Also notes the processor seconds this process has spent."""

    def __init__(self, out: Path, train: TrainSettings, first: int, silent: bool = False) -> None:
        super().__init__(out, train, first, silent)
        self.file, self.spent = out / f"spent-{os.environ.get('RANK', 0)}.json", [time.process_time()]

    def step(self, step: int, loss: float, rate: float, norm: float, waited_s: float) -> None:
        """As a watch does."""
        super().step(step, loss, rate, norm, waited_s)
        if step % EVERY == 0:
            self.spent.append(time.process_time())

    def close(self) -> None:
        """As a watch does, and write it down."""
        super().close()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.spent))


def _rates(out: Path) -> list[float]:
    """Samples a processor second, `EVERY` steps each, but for the first ones."""
    spent = np.sum([np.diff(json.loads(file.read_text())) for file in out.glob("spent-*.json")], axis=0)
    batch = command_of([]).train.batch
    return [float(batch * EVERY / s) for s in spent[1:]]


def logged(out: Path) -> dict[str, list[float]]:
    """The values of each scalar in the event files of `out`, in their order (TFRecord: length, sum, event, sum)."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[float]] = {}
    for file in sorted((out / EVENTS).iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            for value in Event.FromString(data[at + 12 : at + 12 + length]).summary.value:
                found.setdefault(value.tag, []).append(value.simple_value)
            at += length + 16
    return found


def _start(out: Path, processes: int, asked: Sequence[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *torchrun, "-m", "benchmarks.bench_train", str(out), *asked]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def command_of(asked: Sequence[str]) -> Any:
    """The command `robot-stack train` would make of the settings `asked`."""
    return load(TrainCommand, ["dataset=", "train.holdout=0", *asked])


def train(out: Path, asked: Sequence[str]) -> None:
    """One training, in this process and those torchrun started beside it."""
    command = command_of(asked)
    size = command.policy.image_height, command.policy.image_width
    episodes = read_lerobot(SHARED, range(EPISODES), *size, cache=CACHE)
    policies.train.Watch = Timed  # type: ignore[misc]
    policies.train.train_policy(episodes, command.policy, command.train, out)


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2:])
