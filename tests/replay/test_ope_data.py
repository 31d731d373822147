"""What goes in: episodes of logs, and every way they can be unfit."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_stack.data.episode import Episode
from robot_stack.errors import DataError
from robot_stack.replay.ope.estimate import Estimator, Evaluation, estimate
from robot_stack.replay.ope.from_episodes import logged_from_episodes, proposed_by_bundle
from robot_stack.replay.ope.logged import LoggedData, LoggedEpisode, Proposals, TargetPolicy
from robot_stack.types import Array

RNG = np.random.default_rng(0)
HOW = Evaluation(bootstraps=5, draws=2)


def still(states: Array, rng: np.random.Generator) -> Array:
    return 0.1 * rng.normal(size=(len(states), 1))


def flat(states: Array, actions: Array) -> Array:
    return np.zeros(len(states))


def episode(n: int = 6, **columns: Any) -> LoggedEpisode:
    made = LoggedEpisode(RNG.normal(size=(n + 1, 2)), RNG.normal(size=(n, 1)), RNG.normal(size=n), np.zeros(n))
    return replace(made, **columns)


def recorded(samples: int = 10, **columns: Array) -> Episode:
    q = RNG.normal(size=(samples, 3))
    return Episode("one", 20.0, ("a", "b", "c"), q, q + 0.1, {}, columns=columns)


@pytest.mark.parametrize("name", ["states", "actions", "rewards", "log_density"])
def test_a_nan_is_refused_by_name_and_row(name: str) -> None:
    values = np.array(getattr(episode(), name))
    values[3] = np.nan
    with pytest.raises(DataError, match=f"{name}: found 1 rows that are no numbers, the first at 3"):
        episode(**{name: values})


def test_no_data_and_one_episode_and_an_empty_one_are_refused() -> None:
    for few in ((), (episode(),)):
        with pytest.raises(DataError, match="allowed at least 2"):
            LoggedData(few)
    with pytest.raises(DataError, match="n >= 1"):
        episode(0)


def test_a_log_without_the_state_after_the_last_action_is_refused() -> None:
    with pytest.raises(DataError, match="keep the state after the last action"):
        episode(states=np.zeros((6, 2)))


def test_episodes_of_several_kinds_are_refused() -> None:
    with pytest.raises(DataError, match="allowed one kind"):
        LoggedData((episode(), episode(log_density=None)))


@pytest.mark.parametrize("estimator", [e for e in Estimator if e is not Estimator.FQE])
def test_missing_densities_are_named_and_fqe_does_without(estimator: Estimator) -> None:
    without = LoggedData(tuple(episode(log_density=None) for _ in range(4)))
    with pytest.raises(DataError, match="behaviour policy's log densities.*use Estimator.FQE"):
        estimate(without, TargetPolicy(still, flat), estimator, HOW)
    with pytest.raises(DataError, match="target policy's log densities"):
        estimate(LoggedData((episode(), episode())), TargetPolicy(still), estimator, HOW)
    assert np.isfinite(estimate(without, TargetPolicy(still), Estimator.FQE, HOW).value)


def test_an_episode_that_merely_stops_cannot_be_weighted_up_to_the_horizon() -> None:
    data = LoggedData((episode(6), episode(4)))
    with pytest.raises(DataError, match="set the horizon to 4"):
        estimate(data, TargetPolicy(still, flat), Estimator.PDIS, HOW)
    for fit in (replace(data, horizon=4), LoggedData((episode(6), episode(4, terminal=True)))):
        assert np.isfinite(estimate(fit, TargetPolicy(still, flat), Estimator.MDR, HOW).value)


def test_densities_of_another_unit_are_noticed() -> None:
    data = LoggedData(tuple(episode(log_density=np.full(6, -200.0)) for _ in range(3)))
    with pytest.raises(DataError, match="the same action, in the same unit"):
        estimate(data, TargetPolicy(still, flat), Estimator.PDIS, HOW)


def test_a_policy_that_acts_outside_everything_logged_is_refused() -> None:
    data = LoggedData((episode(), episode()))
    with pytest.raises(DataError, match="every one outside the range"):
        estimate(data, TargetPolicy(lambda states, rng: np.full((len(states), 1), 57.3)), Estimator.FQE, HOW)


def test_a_policy_that_answers_nan_or_another_shape_is_refused() -> None:
    data = LoggedData((episode(), episode()))
    for answer in (np.full((14, 1), np.nan), np.zeros((14, 2))):
        with pytest.raises(DataError, match="run the policy on the states by hand"):
            estimate(data, TargetPolicy(lambda states, rng, a=answer: a), Estimator.FQE, HOW)
    with pytest.raises(DataError, match="proposals: found states of episodes"):
        estimate(data, Proposals((np.zeros((7, 1, 1)),)), Estimator.FQE, HOW)


def test_success_earns_one_and_ends_the_episode() -> None:
    success = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1.0])
    done = logged_from_episodes([recorded(success=success), recorded(success=0 * success)], rows=2)
    first, second = done.episodes
    assert first.rewards.tolist() == [0.0, 1.0] and first.terminal and len(first.states) == 3
    assert second.rewards.tolist() == [0.0] * 4 and not second.terminal
    assert done.returns().tolist() == [1.0, 0.0]


def test_success_in_a_last_decision_that_is_cut_off_counts() -> None:
    success = np.array([0] * 9 + [1.0])
    last = logged_from_episodes([recorded(success=success), recorded(success=success)], rows=4).episodes[0]
    assert last.rewards.tolist() == [0.0, 0.0, 1.0] and last.terminal and last.actions.shape == (3, 12)


def test_progress_earns_what_it_gains_and_a_decision_holds_its_samples_commands() -> None:
    one = recorded(progress=np.linspace(0.0, 0.9, 10), cube=np.arange(30.0).reshape(10, 3))
    got = logged_from_episodes([one, one], "progress", ["cube"], rows=3).episodes[0]
    assert got.rewards == pytest.approx([0.3, 0.3, 0.3]) and got.log_density is None and not got.terminal
    assert np.array_equal(got.actions[1], one.action[3:6].ravel())
    assert np.array_equal(got.states[1, :3], one.q[3]) and np.array_equal(got.states[1, 6:], one.columns["cube"][3])


def test_the_densities_of_the_commands_of_a_decision_add_up() -> None:
    one = recorded(reward=np.ones(10), log_density=np.arange(10.0))
    got = logged_from_episodes([one, one], "reward", rows=3).episodes[0]
    assert got.log_density is not None and got.log_density.tolist() == [3.0, 12.0, 21.0]


def test_a_log_without_a_reward_says_what_to_do() -> None:
    with pytest.raises(DataError, match="relabel the log"):
        logged_from_episodes([recorded(), recorded()])
    with pytest.raises(DataError, match="found no columns"):
        logged_from_episodes([recorded(success=np.zeros(10))] * 2, columns=["cube"])
    with pytest.raises(DataError, match="10 samples, 10 a decision"):
        logged_from_episodes([recorded(success=np.zeros(10))] * 2, rows=10)


def test_a_bundle_of_another_rate_or_shorter_chunks_is_refused() -> None:
    data = logged_from_episodes([recorded(success=np.zeros(10))] * 2)
    for manifest in (SimpleNamespace(rate_hz=30.0, rows=8), SimpleNamespace(rate_hz=20.0, rows=0)):
        bundle: Any = SimpleNamespace(manifest=manifest)
        with pytest.raises(DataError, match="bundle: found decisions"):
            proposed_by_bundle(bundle, [recorded(), recorded()], data)
