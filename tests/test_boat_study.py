"""The boat's study in small: rows of decisions, closed loops that count what they claim, and a V-OCBF that learns the stream."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.boat.calibration import Calibration
from benchmarks.boat.dataset import H_MAX, H_MIN, decisions, free_rows
from benchmarks.boat.distance import DistanceBarrier
from benchmarks.boat.geometry import compare
from benchmarks.boat.learning import FOUND, BoatStudy, Lessons
from benchmarks.boat.network import TanhBarrier
from benchmarks.boat.rollout import GoalPolicy, rollout, wilson
from benchmarks.boat.table import RECOVERY, Row, behind, closed_loop, draw
from drivers.boat import Boat, collect
from safety.affine_filter import AffineFilter
from safety.barrier import Barrier
from safety.dynamics_model import DynamicsSettings

BOAT = Boat()
SMALL = BoatStudy(
    transitions=200_000,
    vocbf=replace(FOUND, width=48, steps=3000, batch=256, lr=3e-3, warm_share=0.1, discount=0.98),
    dynamics=DynamicsSettings(width=32, steps=400, batch=256),
    grid_spacing=0.05,
    grid_step=0.05,
    grid_controls=16,
)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Lessons:
    torch.set_num_threads(1)
    return Lessons(SMALL, tmp_path_factory.mktemp("boat"), Boat(steps=250))


def test_decisions_are_whole_and_carry_the_smallest_margin_on_the_way() -> None:
    log = collect(BOAT, 6_000, seed=0, hold=10)
    data, reward = decisions(log, 10)
    row = np.flatnonzero((log.states == data.states[7]).all(axis=1))[0]
    assert np.array_equal(data.next_states[7], log.next_states[row + 9])
    assert data.h[7] == np.clip(log.h[row : row + 10].min(), H_MIN, H_MAX)
    assert reward[7] == pytest.approx(log.reward[row : row + 10].mean())
    for i in range(len(data)):
        rows = np.flatnonzero((log.states == data.states[i]).all(axis=1))
        if len(rows) == 1:  # a boat that lies still in a corner is in many rows
            assert (log.actions[rows[0] : rows[0] + 10] == data.actions[i]).all()


def test_rows_in_which_a_bank_stopped_the_boat_are_not_free() -> None:
    log = collect(BOAT, 6_000, seed=0)
    free = free_rows(log, BOAT.low, BOAT.high)
    moved = log.states + BOAT.dt * (BOAT.fields(log.states)[0] + log.actions)
    assert 0.5 < free.mean() < 1.0 and np.allclose(moved[free], log.next_states[free])


def test_a_rollout_counts_a_boat_that_starts_in_a_rock_and_one_that_is_driven_into_it() -> None:
    starts = np.array([[-0.5, 0.5], [-1.5, 0.5], [0.5, 0.0]])
    runs = rollout(BOAT, starts, GoalPolicy(BOAT), None, 10, paths=2)
    assert runs.violated.tolist() == [True, True, False]
    assert runs.paths.shape == (2, BOAT.steps + 1, 2) and not runs.changed.any()


def test_the_interval_of_a_rate_is_wilsons() -> None:
    assert np.allclose(wilson(0, 1000), (0.0, 0.0038), atol=1e-4) and np.allclose(wilson(50, 100), (0.404, 0.596), atol=1e-3)


def test_the_exact_set_compared_with_itself_is_the_same_and_distance_calls_every_doomed_state_safe(lessons: Lessons) -> None:
    h = BOAT.margin(lessons.exact.grid.nodes)
    itself = compare(lessons.exact, 0.0, lessons.exact, h)
    assert itself["iou"] > 0.999 and itself["false_safe"] < 1e-3 and itself["safe_lost"] < 1e-3
    distance = compare(DistanceBarrier(BOAT), 0.0, lessons.exact, h)
    assert distance["doomed_called_safe"] == 1.0 and distance["rock_called_safe"] == 0.0 and distance["safe_lost"] == 0.0


def test_vocbf_learns_from_the_log_alone_which_states_the_stream_has_doomed(lessons: Lessons) -> None:
    h = BOAT.margin(lessons.exact.grid.nodes)
    found = compare(lessons.vocbf, 0.0, lessons.exact, h)
    assert found["doomed_called_safe"] < 0.2 and found["safe_lost"] < 0.05 and found["iou"] > 0.95


def test_from_states_it_certifies_vocbf_touches_rocks_less_often_than_a_distance_does(lessons: Lessons) -> None:
    goal = GoalPolicy(lessons.boat)
    rows = [
        behind("V-OCBF", goal, lessons.vocbf, lessons.model, Row(level=0.07, recovery=RECOVERY)),
        behind("distance CBF", goal, DistanceBarrier(lessons.boat), lessons.model, Row()),
    ]
    answers, runs = closed_loop(lessons, rows, 300, seed=0)
    ours, theirs = (answers[row.name]["own"]["rate"] for row in rows)
    assert ours < 0.04 and ours < theirs
    assert runs["V-OCBF"].distance.shape == runs["distance CBF"].distance.shape, "paired: the same starts"


def test_every_level_of_a_calibration_is_tried_once_and_starts_only_from_what_it_certifies(lessons: Lessons) -> None:
    calibration = Calibration(lessons, GoalPolicy(lessons.boat), 30, seed=0)
    assert calibration.trials(0.05) == calibration.trials(0.05) and calibration.trials(0.05)[1] == 30
    assert calibration.trials(10.0) == (0, 0), "no state has so large a value"


def test_starts_are_clear_of_rocks_and_near_one() -> None:
    starts = draw(BOAT, 200, np.random.default_rng(0), lambda s: s[:, 1] > 0)
    h = BOAT.margin(starts)
    assert len(starts) == 200 and (h >= 0).all() and (h < 0.5).all() and (starts[:, 1] > 0).all()


@pytest.mark.slow
def test_with_a_row_a_step_instead_of_a_decision_the_same_training_calls_most_doomed_states_safe(lessons: Lessons) -> None:
    h = BOAT.margin(lessons.exact.grid.nodes)
    a_step = lessons.fit_vocbf(SMALL.vocbf, 1, SMALL.seed).barrier()
    doomed = [compare(barrier, 0.0, lessons.exact, h)["doomed_called_safe"] for barrier in (lessons.vocbf, a_step)]
    assert doomed[0] < 0.4 and doomed[1] > 0.7


def test_in_single_precision_a_barrier_is_the_same() -> None:
    rng = np.random.default_rng(0)
    sizes = (2, 8, 8, 1)
    arrays = {f"W{i}": rng.normal(size=sizes[i : i + 2]) for i in range(3)} | {
        f"b{i}": rng.normal(size=sizes[i + 1]) for i in range(3)
    }
    arrays |= {"mean": rng.normal(size=2), "std": np.array([0.5, 2.0])}
    double = Barrier([(arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(3)], arrays["mean"], arrays["std"], 0.0)
    states = rng.normal(size=(20, 2))
    for a, b in zip(TanhBarrier.of(arrays).values_and_gradients(states), double.values_and_gradients(states), strict=True):
        assert np.allclose(a, b, atol=1e-4)


def test_the_learned_dynamics_are_those_of_the_river(lessons: Lessons) -> None:
    states = lessons.boat.draw(500, np.random.default_rng(0))
    f, g = lessons.model.fields(states)
    true_f, true_g = lessons.boat.fields(states)
    assert np.abs(f - true_f).max() < 0.5 and np.abs(g - true_g).max() < 0.3
    check = AffineFilter(lessons.exact, lessons.model)
    assert np.linalg.norm(check.check(states, np.ones((500, 2))).u, axis=1).max() <= 1.0 + 1e-9
