"""The taxi study in small: what its closed loops, thresholds and rates mean, without the grid solver; all of it once, slowly."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.taxi import study
from benchmarks.taxi.closed_loop import USUAL, drive
from benchmarks.taxi.scenes import Camera, tiny_estimate, xplane_picture
from benchmarks.taxi.tubes import Sample, table_grid, tube_grid
from drivers import taxi
from drivers.nnet import read_nnet
from robot_stack.types import Array
from safety.reachability import simulated_tube, volume

TAXINET = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "taxinet"
NODES = tube_grid(31).nodes


def blind(states: Array) -> Array:
    """A controller that takes a line in the grass for the centre line."""
    return taxi.steering(states - np.array([14.0, 0.0]))


def loop(states: Array, speed: float = taxi.SPEED) -> Array:
    return taxi.drift(states, blind(states), speed)


def test_driving_slower_does_not_change_the_tube_over_the_same_way() -> None:
    fast = simulated_tube(NODES, loop, taxi.margin, 16.0, 0.05)
    slow = simulated_tube(NODES, lambda x: loop(x, 2.5), taxi.margin, 32.0, 0.1)
    assert volume(fast) == volume(slow) > 0.9
    np.testing.assert_allclose(fast, slow, atol=1e-6)


def test_without_a_monitor_a_run_fails_where_the_tube_says() -> None:
    truth = simulated_tube(NODES, taxi.ideal_drift, taxi.margin, 8.0, 0.01) <= 0.0
    failed = drive(NODES, lambda x: taxi.steering(x), None).failed
    assert np.mean(failed != truth) < 0.01


def test_an_alarm_in_time_saves_what_a_blind_controller_would_lose() -> None:
    alone = drive(NODES, blind, None)
    saved = drive(NODES, blind, lambda x: np.asarray(x[:, 0] > 3.0))
    assert alone.failed.mean() > 0.4 > 0.2 > saved.failed.mean()
    assert saved.alarmed[alone.failed].mean() > 0.6


def test_dead_reckoning_is_off_by_less_than_a_lane_line_and_more_with_worse_wheels() -> None:
    usual = drive(NODES, lambda x: taxi.steering(x), lambda x: np.zeros(len(x), bool))
    worse = drive(NODES, lambda x: taxi.steering(x), None, odometry=USUAL.times(4.0))
    assert 0.3 < usual.off.max() < 2.0 < worse.off.max()


def conditions(count: int, seed: int) -> tuple[list[Sample], list[dict[str, Array]]]:
    """Samples whose failing states score higher by one standard deviation of a condition, and their scores."""
    rng, none = np.random.default_rng(seed), np.zeros((0,))
    parts, found = [], []
    for _ in range(count):
        failing: NDArray[np.bool_] = rng.random(30) < 0.3
        states = rng.uniform(-1.0, 1.0, (30, 2))
        pictures = np.zeros((30, 8, 8, 3), np.uint8)
        parts.append(Sample(None, none, pictures[:0], none, states, pictures, states[None], failing, failing & False))
        found.append({"score": failing + 0.5 * rng.standard_normal() + 0.3 * rng.standard_normal(30)})
    return parts, found


def test_a_calibrated_threshold_misses_as_few_failures_as_it_promises() -> None:
    over = []
    for seed in range(20):
        threshold, bound = study.calibrate(*conditions(80, seed))["score"]
        missed = study.verify(*conditions(300, 1000 + seed), "score", threshold)["missed_all"]
        assert bound <= study.ALPHA
        over.append(missed > study.ALPHA)
    assert np.mean(over) <= 0.15, "the promise holds in at least 95 of 100 calibrations"


def test_too_few_failures_to_promise_anything_alarm_always() -> None:
    threshold, _ = study.calibrate(*conditions(20, 0))["score"]
    found = study.verify(*conditions(20, 1), "score", threshold)
    assert threshold == -np.inf and found["missed_all"] == 0.0 and found["false_alarm"] == 1.0


def test_a_roc_curve_runs_from_no_alarm_to_all_and_never_back() -> None:
    false_alarm, detected = study.roc(*conditions(50, 0), "score")
    assert (false_alarm[0], detected[0], false_alarm[-1], detected[-1]) == (1.0, 1.0, 0.0, 0.0)
    assert (np.diff(false_alarm) <= 0).all() and (np.diff(detected) <= 0).all()


@pytest.mark.skipif(not TAXINET.is_dir(), reason=f"no TinyTaxiNet at {TAXINET} (set ROBOT_STACK_SHARED)")
def test_the_real_tinytaxinet_loses_more_of_the_runway_than_the_ideal_law() -> None:
    tiny, generator = (read_nnet(TAXINET / f"{name}.nnet") for name in ("TinyTaxiNet", "generator_supervised_mlp"))
    table = table_grid(21)
    pictures = xplane_picture(generator, table.nodes, Camera(), np.random.default_rng(0))
    phi = taxi.steering(tiny_estimate(tiny, pictures))
    vision = simulated_tube(NODES, lambda x: taxi.drift(x, table.interpolate(phi, x)), taxi.margin, 8.0, 0.05)
    ideal = simulated_tube(NODES, taxi.ideal_drift, taxi.margin, 8.0, 0.05)
    assert pictures.shape == (441, 8, 16, 3)
    assert volume(ideal) + 0.02 < volume(vision) < 0.25


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_study_in_small_answers_every_question(tmp_path: Path) -> None:
    pytest.importorskip("hj_reachability", reason="needs the extra: pip install 'robot_stack[reachability]'")
    from benchmarks.bench_taxi import main
    from benchmarks.taxi.figures import Sizes

    small = Sizes(800, 120, 2, 20, 60, 100, 10, 10, 4, 20, 2, 3)
    found = main((), small, tmp_path, tmp_path / "no networks here")
    assert found.extra["ideal"]["grid_%"] == 15.02
    assert found.extra["runway_tube_%"]["21:00"] > 15.0
    assert found.extra["xplane"].startswith("skipped: no networks at")
    assert {path.name for path in tmp_path.glob("*.png")} >= {"runway_tubes.png", "runway_roc.png", "runway_mined.png"}
