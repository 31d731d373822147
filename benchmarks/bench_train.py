"""Samples a second of a training on `g1_bottle` (flow, batches of 32, one thread a process), as TensorBoard's log has them.

Against it: without the thread that draws batches ahead, in full precision, and as two processes that torchrun starts, with copies
of the weights (DDP) and with one copy cut up (FSDP): on two cores they take each other's place. `extra.rows` has of each the
share of time spent waiting for batches, and its running loss at the end: with two processes that of one, the batch in two parts.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Result
from policies.train import train_policy
from policies.watch import EVENTS
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.data.lerobot import read_lerobot

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", ROOT.parent / "shared")) / "data" / "g1_bottle"
EPISODES, STEPS, EVERY = 4, 100, 10
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
            found = logged(Path(out))
        samples[name] = found["samples_per_s"][1:]
        rows[name or "one process"] = {
            "samples_per_s": statistics.median(samples[name]),
            "waiting_share": statistics.median(found["waiting_share"][1:]),
            "last_loss": found["loss"][-1],
        }
    return Result("training_throughput", "samples/s", samples.pop(""), against=samples, extra={"rows": rows, "steps": steps})


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
    return load(TrainCommand, ["dataset=", "train.holdout=1", *asked])


def train(out: Path, asked: Sequence[str]) -> None:
    """One training, in this process and those torchrun started beside it."""
    command = command_of(asked)
    size = command.policy.image_height, command.policy.image_width
    episodes = read_lerobot(SHARED, range(EPISODES), *size, cache=CACHE)
    train_policy(episodes, command.policy, command.train, out)


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2:])
