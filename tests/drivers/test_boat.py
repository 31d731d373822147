"""The boat: its river, its rocks, and the log its crews leave."""

import numpy as np
import pytest

from drivers.boat import Boat, collect
from robot_stack.errors import ContractError

BOAT = Boat()


def test_the_stream_is_two_in_the_middle_and_still_at_the_banks() -> None:
    f, g = BOAT.fields(np.array([[0.0, 0.0], [1.0, 2.0]]))
    assert f.tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert np.array_equal(g, [np.eye(2)] * 2)


def test_an_action_shorter_than_one_is_executed_as_it_is() -> None:
    after = BOAT.step(np.zeros((1, 2)), np.array([[-0.3, 0.1]]))
    assert np.allclose(after, [[1.7 * BOAT.dt, 0.1 * BOAT.dt]])


@pytest.mark.parametrize("action", [[0.8, 0.8], [np.nan, 0.0], [np.inf, 0.0]])
def test_an_action_that_is_too_long_or_no_number_is_refused(action: list[float]) -> None:
    with pytest.raises(ContractError, match="at most 1"):
        BOAT.step(np.zeros((1, 2)), np.array([action]))


def test_the_banks_hold_the_boat() -> None:
    after = BOAT.step(np.array([[2.0, 1.0], [0.0, -2.0]]), np.array([[1.0, 0.0], [0.0, -1.0]]))
    assert after[0, 0] == 2.0 and after[1, 1] == -2.0


def test_the_margin_is_the_distance_to_the_nearest_rock_and_its_gradient_points_away() -> None:
    states = np.array([[-0.5, 0.5], [-0.5, 1.2], [-1.0, -2.0]])
    assert np.allclose(BOAT.margin(states), [-0.4, 0.3, 0.3])
    assert np.allclose(BOAT.margin_gradient(states)[1:], [[0.0, 1.0], [0.0, -1.0]])
    nudged = states[1:] + 1e-6 * BOAT.margin_gradient(states)[1:]
    assert np.allclose(BOAT.margin(nudged) - BOAT.margin(states[1:]), 1e-6)


def test_the_reward_is_best_at_the_goal() -> None:
    assert BOAT.reward(np.array([[1.5, 0.0], [0.5, 0.0]])).tolist() == [0.0, -1.0]


def test_a_log_is_whole_trajectories_of_the_plant_and_the_same_for_the_same_seed() -> None:
    log = collect(BOAT, 20_000, seed=3)
    assert len(log) == 20_000 and log.done[-1]
    assert np.array_equal(BOAT.step(log.states, log.actions), log.next_states)
    assert np.array_equal(log.next_states[:-1][~log.done[:-1]], log.states[1:][~log.done[:-1]])
    assert np.array_equal(log.h, BOAT.margin(log.states))
    assert np.array_equal(log.states, collect(BOAT, 20_000, seed=3).states)


def test_the_crews_go_everywhere_hold_their_actions_and_touch_rocks_now_and_then() -> None:
    log = collect(BOAT, 50_000, seed=0, hold=10)
    counts, _, _ = np.histogram2d(*log.states.T, bins=(5, 4), range=((-3, 2), (-2, 2)))
    assert counts.min() > 200
    assert 0.02 < np.mean(log.h < 0) < 0.15
    changed = np.any(log.actions[1:] != log.actions[:-1], axis=1) & ~log.done[:-1]
    assert np.mean(changed) < 0.11


def test_a_trajectory_ends_where_the_river_ends() -> None:
    log = collect(BOAT, 20_000, seed=1)
    at_end = log.next_states[:, 0] >= BOAT.high[0]
    assert at_end.any() and log.done[at_end].all()
