"""The discriminator tells other dynamics from the same ones in another state, and names the joint."""

import numpy as np
import pytest

from robot_stack.errors import DataError
from robot_stack.replay.resim.trust import Track, Trust, trust

TICKS, LOGS = 600, 6


def servos(seed: int, gain: float, start: float) -> Track:
    """Two joints follow noisy steps; `gain` of the second one's servo."""
    rng = np.random.default_rng(seed)
    command = np.repeat(rng.uniform(-1, 1, (TICKS // 20, 2)), 20, axis=0)
    q, v = np.full((TICKS, 2), start), np.zeros(2)
    for i in range(1, TICKS):
        v = v + 0.05 * (np.array([1.0, gain]) * (command[i - 1] - q[i - 1]) - 3.0 * v) + rng.normal(0, 1e-3, 2)
        q[i] = q[i - 1] + 0.1 * v
    return Track(q, command)


def compared(gain: float, start: float) -> Trust:
    real = [servos(seed, gain, start) for seed in range(LOGS)]
    return trust(real, [servos(100 + seed, 1.0, 0.0) for seed in range(LOGS)], holdout=2)


def test_the_same_dynamics_cannot_be_told_apart() -> None:
    found = compared(1.0, 0.0)
    assert found.accuracy == pytest.approx(0.5, abs=0.08)
    assert found.weight.min() > 0.85


def test_another_start_with_the_same_dynamics_is_trusted_all_the_same() -> None:
    assert compared(1.0, 0.7).accuracy == pytest.approx(0.5, abs=0.08)


def test_the_joint_with_another_gain_is_named_and_the_other_is_not() -> None:
    found = compared(1.6, 0.0)
    assert found.accuracy[0] < 0.57 < 0.6 < found.accuracy[1]
    assert found.by_share(4)[:, 1].min() > 2 * found.by_share(4)[:, 0].max()
    assert [ratio.shape for ratio in found.log_ratio] == [(TICKS - 2, 2)] * 2


@pytest.mark.parametrize("holdout", [0, 3])
def test_something_must_be_left_to_train_on(holdout: int) -> None:
    tracks = [servos(seed, 1.0, 0.0) for seed in range(3)]
    with pytest.raises(DataError, match="some left to train on"):
        trust(tracks, tracks, holdout)
