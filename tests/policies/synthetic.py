"""Tiny episodes whose pictures tell where the motion goes: enough to train, export and run a policy in seconds."""

import numpy as np

from robot_stack.data.episode import Episode


def episodes(number: int = 6, samples: int = 30, joints: int = 3, size: int = 32, seed: int = 0) -> list[Episode]:
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
