"""Tiny episodes whose pictures tell where the motion goes, and one small policy trained on them: seconds, not minutes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from policies.checkpoint import load_checkpoint
from policies.export import Decision, export_bundle
from policies.train import train_policy
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.episode import Episode

SETTINGS = PolicySettings(rows=8, image_height=24, image_width=32, width=32, depth=2, steps=3, candidates=4, keypoints=8)
TRAIN = TrainSettings(steps=60, batch=16, holdout=1, repeats=2, warmup=5, save_every=20, shift=1)


def make_episodes(number: int = 5, samples: int = 20, joints: int = 3, size: int = 32, seed: int = 0) -> list[Episode]:
    """Each episode moves joint 0 to a random target that one camera shows as a bright square."""
    rng = np.random.default_rng(seed)
    return [_episode(f"episode_{k}", rng.uniform(-1.0, 1.0), samples, joints, size) for k in range(number)]


def _episode(name: str, target: float, samples: int, joints: int, size: int) -> Episode:
    action = np.zeros((samples, joints))
    action[:, 0] = target * np.sin(np.linspace(0.0, np.pi / 2, samples)) ** 2
    picture = np.full((samples, size, size, 3), 60, dtype=np.uint8)
    column = int((0.5 + 0.4 * target) * size)
    picture[:, size // 2 - 3 : size // 2 + 3, max(0, column - 3) : column + 3] = 230
    q = np.vstack([action[:1], action[:-1]])
    names = tuple(f"joint_{j}" for j in range(joints))
    return Episode(name, 20.0, names, q, action, {"scene": picture, "wrist": picture[:, ::-1].copy()}, "go there")


@pytest.fixture(scope="session")
def episodes() -> list[Episode]:
    return make_episodes()


@pytest.fixture(scope="session")
def make() -> Callable[..., list[Episode]]:
    return make_episodes


@pytest.fixture(scope="session")
def settings() -> PolicySettings:
    return SETTINGS


@pytest.fixture(scope="session")
def train() -> TrainSettings:
    return TRAIN


@pytest.fixture(scope="session")
def checkpoint(episodes: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_policy(episodes, SETTINGS, TRAIN, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, episodes: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_bundle(checkpoint, tmp_path_factory.mktemp("export") / "bundle", None, episodes)


@pytest.fixture(scope="module")
def decision(checkpoint: Path) -> Decision:
    """What is exported of that policy, without a selector, in PyTorch."""
    return Decision(load_checkpoint(checkpoint)[0], None).eval()


@pytest.fixture(scope="module")
def example(decision: Decision) -> dict[str, np.ndarray]:
    """An input of the right shape for each name."""
    return {name: value.numpy() for name, value in decision.example().items()}
