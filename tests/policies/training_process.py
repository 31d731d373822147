"""A small training as a process of its own: one that can be killed in the middle, or one of two that train together."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np

from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.episode import Episode

SETTINGS = PolicySettings(rows=6, image_height=16, image_width=16, width=16, depth=1, steps=2, candidates=2, keypoints=4)
TRAIN = TrainSettings(steps=12, batch=8, holdout=1, repeats=2, warmup=3, save_every=4, shift=1, log_every=4)
SAVED, WEIGHTS_WRITTEN, CARD_WRITTEN = 3, 4, 5
"""The files such a run writes: three times what to go on from, then the weights, then the card."""
PATIENCE_S = 150.0

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["policies.train", "torch._dynamo", "torch.distributed.fsdp"])
"""What a training imports at its first step, too: once for all processes."""


def episodes(count: int = 3, samples: int = 16) -> list[Episode]:
    """Pictures of noise and joints that sway."""
    rng = np.random.default_rng(0)
    names = ("a", "b")
    sway = [np.sin(np.linspace(k, k + 3.0, samples))[:, None] * np.ones(2) for k in range(count)]
    pictures = [rng.integers(0, 255, (samples, 16, 16, 3), dtype=np.uint8) for _ in range(count)]
    return [Episode(f"e{k}", 20.0, names, sway[k], sway[k], {"scene": pictures[k]}) for k in range(count)]


def train_here(out: Path, changed: Mapping[str, Any], policy: Mapping[str, Any], death: str = "") -> None:
    """Train into `out`, with settings `changed`; `death`: how and when this process kills itself, see `die_at`."""
    from policies.train import train_policy

    if death:
        die_at(*death.split())
    train_policy(episodes(), replace(SETTINGS, **policy), replace(TRAIN, **changed), out)


def die_at(moment: str, number: str) -> None:
    """SIGKILL to this process: before step `number`, with its `number`-th file `half` on the disk, `written`, or `renamed`."""
    from policies import checkpoint, train

    if moment == "step":
        whole = train._Run._one

        def step(run: Any, *arguments: Any) -> None:
            if run.step == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            whole(run, *arguments)

        train._Run._one = step  # type: ignore[method-assign]
    elif moment == "renamed":
        rename = Path.replace
        Path.replace = counted(int(number), rename, lambda file, to: rename(file, to))  # type: ignore[method-assign]
    else:
        sync = os.fsync
        half = moment == "half"
        checkpoint.os.fsync = counted(  # type: ignore[attr-defined]
            int(number), sync, lambda file: os.ftruncate(file, os.fstat(file).st_size // 2) if half else sync(file)
        )


def counted(number: int, usual: Callable[..., Any], last: Callable[..., Any]) -> Callable[..., Any]:
    """`usual`, but the `number`-th call is `last`, in both senses."""
    left = [number]

    def call(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0]:
            return usual(*arguments)
        last(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return call


def run(out: Path, changed: Mapping[str, Any] | None = None, death: str = "", **policy: Any) -> int:
    """The exit code of `train_here` in a process of its own; -9: it was killed."""
    process = PROCESSES.Process(target=train_here, args=(out, changed or {}, policy, death))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def run_two(out: Path, changed: Mapping[str, Any] | None = None, death: str = "", **policy: Any) -> tuple[int, int]:
    """The same as two processes of one training, as torchrun would start them; `death`: how the first of them dies."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [(rank, port, out, changed or {}, policy, "" if rank else death) for rank in range(2)]
    both: list[ForkServerProcess] = [PROCESSES.Process(target=_one_of_two, args=each) for each in arguments]
    for process in both:
        process.start()
    both[0].join(PATIENCE_S)
    if death:
        both[1].kill()
    both[1].join(PATIENCE_S)
    assert both[0].exitcode is not None and both[1].exitcode is not None, "it hangs"
    return both[0].exitcode, both[1].exitcode


def _one_of_two(rank: int, port: int, *rest: Any) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    train_here(*rest)
