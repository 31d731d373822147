"""Samples a processor second that are drawn and augmented, one camera at 72 x 96 of `g1_bottle`, batches of 64, one thread.

Each part runs in a process of its own, whose largest memory is therefore its own. `extra.g1_bottle`: reading 4 episodes with an
empty cache (each video is decoded, once) and with a full one, training samples a second, and the share of a training's time spent
waiting for batches, with the thread that draws them ahead and without. `extra.adroit_door`: the same of 25 demonstrations
in HDF5, no pictures; hand joints stand in for all of the state. `extra.growth`: memory of this process alone (anonymous) when the
pictures on the disk become four times as many; what is mapped of them can be given back at any time.
"""

import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bench_train import CACHE, EPISODES, EVERY, SHARED, command_of, logged
from benchmarks.harness import Result
from policies.frames import frames_of
from policies.loader import Loader
from policies.train import train_policy
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.episode import Episode
from robot_stack.data.lerobot import read_lerobot
from robot_stack.data.recording import ACTION, STATE

DOOR = SHARED.parent / "adroit_door"
SIZE, BATCH, BATCHES, WINDOW = (72, 96), 64, 100, 5
TRAINING_STEPS = 60
GROWTH, SAMPLES, JOINTS = (10, 40), 2_000, 7
"""Episodes of so many samples, with one camera."""
MIB = 2.0**20


def main(arguments: Sequence[str] = ()) -> Result:
    """All parts there is data for."""
    shutil.rmtree(CACHE, ignore_errors=True)
    extra: dict[str, Any] = {"growth": _growth()}
    samples = _in_a_process(made_up)["windows"]
    if SHARED.is_dir():
        cold, warm = _in_a_process(read_videos), _in_a_process(read_videos)
        samples = warm.pop("windows")
        cold.pop("windows")
        training = {name: _in_a_process(waiting, ahead) for name, ahead in (("ahead", True), ("in turn", False))}
        extra["g1_bottle"] = {"cold": cold, "warm": warm, "training": training}
    if DOOR.is_dir():
        extra["adroit_door"] = {k: v for k, v in _in_a_process(read_door).items() if k != "windows"}
    return Result("loader", "samples per processor second", samples, extra=extra)


def read_videos() -> dict[str, Any]:
    """`EPISODES` of g1_bottle, read and drawn from."""
    return _measured(lambda: read_lerobot(SHARED, range(EPISODES), *SIZE, cache=CACHE), SIZE)


def read_door() -> dict[str, Any]:
    """All of adroit_door, read and drawn from."""
    catalogue = Catalogue.open(DOOR)

    def read() -> list[Episode]:
        found = [catalogue.recording(entry) for entry in catalogue.entries()]
        names = tuple(f"joint_{i}" for i in range(found[0].columns[ACTION].shape[1]))
        tables = [(r, np.asarray(r.columns[ACTION], float), np.asarray(r.columns[STATE], float)) for r in found]
        return [Episode(r.name, r.rate_hz, names, state[:, : len(names)], action, {}) for r, action, state in tables]

    return _measured(read, SIZE)


def made_up(count: int = GROWTH[0]) -> dict[str, Any]:
    """`count` episodes with pictures in sparse mapped files."""
    with tempfile.TemporaryDirectory() as folder:

        def episode(k: int) -> Episode:
            pictures = np.lib.format.open_memmap(f"{folder}/{k}.npy", "w+", np.uint8, (SAMPLES, *SIZE, 3))
            del pictures
            q = np.random.default_rng(k).normal(size=(SAMPLES, JOINTS))
            mapped = np.load(f"{folder}/{k}.npy", mmap_mode="r")
            return Episode(str(k), 30.0, tuple(map(str, range(JOINTS))), q, q, {"scene": mapped})

        return _measured(lambda: [episode(k) for k in range(count)], SIZE)


def waiting(prefetch: bool) -> dict[str, float]:
    """Medians over a training of `TRAINING_STEPS` steps: samples a second, and the share of the time that is waiting."""
    command = command_of([f"train.steps={TRAINING_STEPS}", f"train.log_every={EVERY}"])
    episodes = read_lerobot(SHARED, range(EPISODES), *SIZE, cache=CACHE)
    with tempfile.TemporaryDirectory() as out:
        train_policy(episodes, command.policy, replace(command.train, prefetch=prefetch), Path(out))
        found = logged(Path(out))
    return {name: statistics.median(found[name][1:]) for name in ("samples_per_s", "waiting_share")}


def _measured(read: Callable[[], list[Episode]], size: tuple[int, int]) -> dict[str, Any]:
    torch.set_num_threads(1)
    begin, spent = time.perf_counter(), time.process_time()
    episodes = read()
    took, took_cpu = time.perf_counter() - begin, time.process_time() - spent
    frames = frames_of(episodes, PolicySettings(image_height=size[0], image_width=size[1], rows=16))
    loader = Loader(frames, TrainSettings(batch=BATCH, prefetch=False), range(1))
    windows = []
    for window in range(BATCHES // WINDOW):
        start = time.process_time()
        for step in range(WINDOW):
            loader.batches(window * WINDOW + step)
        windows.append(BATCH * WINDOW / (time.process_time() - start))
    return {
        "samples": len(frames),
        "read_samples_per_s": len(frames) / took,
        "read_samples_per_cpu_s": len(frames) / took_cpu,
        "drawn_samples_per_cpu_s": statistics.median(windows),
        "largest_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
        "anonymous_mib": _anonymous_mib(),
        "pictures_mib": sum(image.nbytes for e in episodes for image in e.images.values()) / MIB,
        "windows": windows,
    }


def _anonymous_mib() -> float:
    """What this process holds that is in no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024.0


def _growth() -> dict[str, float]:
    small, large = (_in_a_process(made_up, count) for count in GROWTH)
    more = large["samples"] - small["samples"]
    return {
        "samples": large["samples"],
        "pictures_mib": large["pictures_mib"],
        "anonymous_mib": large["anonymous_mib"],
        "anonymous_kib_a_sample": 1024.0 * (large["anonymous_mib"] - small["anonymous_mib"]) / more,
        "picture_kib_a_sample": 1024.0 * large["pictures_mib"] / large["samples"],
    }


def _in_a_process(call: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()
