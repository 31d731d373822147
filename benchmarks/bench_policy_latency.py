"""Milliseconds from an observation to a chosen chunk: ONNX Runtime on one thread, for N = 1, 8 and 32 candidates.

Two 128x128 cameras, 7 joints, 16 rows: the shape of the simulated arm's policy. The network is trained for a few steps on
made-up pictures, because a bundle that was not exported and checked can't be opened; its weights do not change its speed.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import Result
from policies.bundle import load_bundle
from policies.export import export_bundle
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from policies.train import train_policy
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.episode import Episode

CANDIDATES = (1, 8, 32)


def main(arguments: Sequence[str]) -> list[Result]:
    """`arguments`: a bundle folder and the number of decisions, both optional. One result for each N."""
    decisions = int(arguments[1]) if len(arguments) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(arguments[0]) if arguments else _bundle(Path(folder))
        policies = {n: OnnxPolicy(bundle, n) for n in CANDIDATES}
        manifest = load_bundle(bundle).manifest
    cameras = {name: np.random.default_rng(0).integers(0, 255, (1, *size, 3), np.uint8) for name, size in manifest.cameras}
    still = np.zeros((1, len(manifest.joint_names)))
    episode = Episode("still", manifest.rate_hz, manifest.joint_names, still, still, cameras, manifest.instruction)
    samples = _interleaved(policies, episode, decisions)
    extra = {"cameras": dict(manifest.cameras), "rows": manifest.rows, "joints": len(manifest.joint_names), "threads": 1}
    extra |= {"denoising_steps": manifest.denoising_steps, "selector": manifest.selector}
    return [
        Result("policy_latency" if n == 8 else f"policy_latency_n{n}", "ms", samples[n], extra={"N": n, **extra})
        for n in CANDIDATES
    ]


def _interleaved(policies: dict[int, OnnxPolicy], episode: Episode, decisions: int) -> dict[int, list[float]]:
    observation = observation_at(episode, 0)
    samples: dict[int, list[float]] = {n: [] for n in policies}
    for i in range(decisions + 5):
        for n, policy in policies.items():
            begin = time.perf_counter()
            policy.decide(observation)
            if i >= 5:
                samples[n].append(1e3 * (time.perf_counter() - begin))
    return samples


def _bundle(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    names = tuple(f"joint_{i}" for i in range(7))
    pictures = {camera: rng.integers(0, 255, (40, 128, 128, 3), np.uint8) for camera in ("scene", "wrist")}
    action = np.cumsum(rng.normal(0.0, 0.02, (40, 7)), axis=0)
    episode = Episode("made_up", 20.0, names, action, action, pictures, "")
    train = replace(TrainSettings(), steps=3, batch=8, holdout=0)
    return export_bundle(
        train_policy([episode], PolicySettings(), train, folder / "checkpoint"), folder / "bundle", None, [episode]
    )
