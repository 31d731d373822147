"""The discriminator tells other dynamics from the same ones in another state, and names the joint."""

from dataclasses import replace

import numpy as np
import pytest

from robot_stack.errors import DataError
from robot_stack.replay.resim.divergence import Divergence, Motion, divergence
from robot_stack.replay.resim.trust import Track, Trust, trust, weighted

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
    return trust(real, [servos(100 + seed, 1.0, 0.0) for seed in range(LOGS)])


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
    assert [ratio.shape for ratio in (*found.real, *found.simulated)] == [(TICKS - 2, 2)] * 2 * LOGS


@pytest.mark.parametrize("folds", [1, 4])
def test_something_must_be_left_to_learn_from(folds: int) -> None:
    tracks = [servos(seed, 1.0, 0.0) for seed in range(3)]
    with pytest.raises(DataError, match="2 folds or more"):
        trust(tracks, tracks, folds)


def moved(error: float, success: bool, samples: int = 12) -> Divergence:
    """A re-simulation that is `error` rad off in the first half of its samples, and right in the second."""
    q = np.zeros((samples, 2))
    recorded = Motion("m", np.arange(samples, dtype=float), ("a", "b"), q)
    q = q.copy()
    q[: samples // 2] = error
    return divergence(recorded, replace(recorded, q=q, success=success))


def test_equal_ratios_change_no_result() -> None:
    found = [moved(0.1, True), moved(0.3, False)]
    result = weighted(found, [np.zeros((10, 2))] * 2)
    assert (result.success_weighted, result.rms_weighted, result.worth) == pytest.approx((result.success, result.rms, 2.0))


def test_success_where_the_simulator_is_unlike_the_robot_counts_less_and_so_does_its_error() -> None:
    found = [moved(0.1, True), moved(0.3, False)]
    unlike, like = np.full((10, 2), -np.log(4.0)), np.zeros((10, 2))
    result = weighted(found, [unlike, like])
    assert result.success == 0.5 and result.success_weighted == pytest.approx(0.2)
    assert result.worth == pytest.approx(1.25**2 / (1.0 + 1 / 16))
    early = np.zeros((10, 2))
    early[:4] = -3.0
    assert weighted(found, [early, early]).rms_weighted < 0.3 * result.rms
    assert "success 50.0% -> 20.0%" in str(result)


def test_weights_follow_the_simulator_s_own_transitions() -> None:
    """Servos with the robot's gain are worth more than those with another one, and their success counts more."""
    real = [servos(seed, 1.0, 0.0) for seed in range(LOGS)]
    gains = [1.0, 1.0, 1.0, 2.5, 2.5, 2.5]
    found = trust(real, [servos(100 + seed, gain, 0.0) for seed, gain in enumerate(gains)], folds=3)
    result = weighted([moved(0.1, gain == 1.0, TICKS) for gain in gains], found.simulated)
    assert result.success == 0.5 < result.success_weighted


def test_ratios_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"allowed \[\(10, 2\)\]"):
        weighted([moved(0.1, True)], [np.zeros((12, 2))])
