"""Every estimator on a table of 4 states and 2 actions, whose values linear algebra gives exactly."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest

from robot_stack.errors import DataError
from robot_stack.replay.ope.estimate import Estimator, Evaluation, estimate
from robot_stack.replay.ope.features import one_hot
from robot_stack.replay.ope.logged import LoggedData, LoggedEpisode, TargetPolicy
from robot_stack.types import Array

STATES, ACTIONS, HORIZON, GAMMA, END = 4, 2, 8, 0.95, 3
TABLE = one_hot(STATES, ACTIONS)
HOW = Evaluation(draws=8, bootstraps=100, widen=1.0, ridge=1e-9, ridge_weights=1e-9, features=TABLE)
WEIGHTED = [Estimator.PDIS, Estimator.DR, Estimator.MIS, Estimator.MDR]
BEHAVIOUR = np.array([[0.5, 0.5], [0.6, 0.4], [0.4, 0.6], [0.5, 0.5]])
TARGET = np.array([[0.2, 0.8], [0.3, 0.7], [0.7, 0.3], [0.5, 0.5]])


@dataclass(frozen=True)
class Table:
    """P (S, A, S), reward (S, A), start (S,); state `END` is terminal."""

    P: Array
    reward: Array
    start: Array

    def value(self, pi: Array) -> float:
        """J by H backward steps of ``V_k = sum_a pi(a|s) (r + gamma P V_{k-1})``."""
        v = np.zeros(STATES)
        for _ in range(HORIZON):
            v = (pi * (self.reward + GAMMA * self.P @ v)).sum(axis=1)
            v[END] = 0.0
        return float(self.start @ v)

    def log(self, pi: Array, episodes: int, rng: np.random.Generator) -> LoggedData:
        """Episodes of `pi`, with noise on the rewards."""
        return LoggedData(tuple(self._episode(pi, rng) for _ in range(episodes)), GAMMA, HORIZON)

    def _episode(self, pi: Array, rng: np.random.Generator) -> LoggedEpisode:
        states, actions, rewards = [int(rng.choice(STATES, p=self.start))], [], []
        while states[-1] != END and len(actions) < HORIZON:
            s = states[-1]
            a = int(rng.random() < pi[s, 1])
            actions.append(a)
            rewards.append(self.reward[s, a] + 0.1 * rng.normal())
            states.append(int(rng.choice(STATES, p=self.P[s, a])))
        density = np.log(pi[states[:-1], actions])
        columns = np.array(states, float)[:, None], np.array(actions, float)[:, None]
        return LoggedEpisode(*columns, np.array(rewards), density, terminal=states[-1] == END)


def make_table() -> Table:
    rng = np.random.default_rng(14)
    P = rng.dirichlet([1.0, 1.0, 1.0, 0.4], (STATES, ACTIONS))
    return Table(P, rng.uniform(-1.0, 2.0, (STATES, ACTIONS)), np.array([0.6, 0.4, 0.0, 0.0]))


TASK = make_table()
TRUE = TASK.value(TARGET)


def policy(pi: Array) -> TargetPolicy:
    def sample(states: Array, rng: np.random.Generator) -> Array:
        return (rng.random(len(states)) < pi[states[:, 0].astype(int), 1]).astype(float)[:, None]

    def log_density(states: Array, actions: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(pi[states[:, 0].astype(int), actions[:, 0].astype(int)])

    return TargetPolicy(sample, log_density)


@pytest.fixture(scope="module")
def data() -> LoggedData:
    return TASK.log(BEHAVIOUR, 400, np.random.default_rng(1))


@lru_cache
def log_of(seed: int) -> LoggedData:
    return TASK.log(BEHAVIOUR, 60, np.random.default_rng(100 + seed))


def many(estimator: Estimator, seeds: int = 40, wrong: float = 0.0, how: Evaluation = HOW) -> Array:
    """Estimates on `seeds` logs of 60 episodes; `wrong`: the logged densities are off by this much (nat)."""
    values = []
    for data in map(log_of, range(seeds)):
        off = tuple(replace(e, log_density=e.log_density + wrong) for e in data.episodes if e.log_density is not None)
        values.append(estimate(replace(data, episodes=off), policy(TARGET), estimator, replace(how, bootstraps=1)).value)
    return np.array(values)


@pytest.mark.parametrize("estimator", Estimator)
def test_the_interval_of_four_hundred_episodes_holds_the_exact_value(estimator: Estimator, data: LoggedData) -> None:
    found = estimate(data, policy(TARGET), estimator, HOW)
    assert found.low <= TRUE <= found.high and found.low <= found.value <= found.high
    assert abs(TASK.value(BEHAVIOUR) - TRUE) > 0.5, "the target is another policy, not the one that was logged"


def test_an_interval_is_widened_about_the_value(data: LoggedData) -> None:
    once, twice = (estimate(data, policy(TARGET), Estimator.FQE, replace(HOW, widen=widen)) for widen in (1.0, 2.0))
    assert twice.value == once.value
    assert twice.high - twice.value == pytest.approx(2.0 * (once.high - once.value))
    assert twice.low - twice.value == pytest.approx(2.0 * (once.low - once.value))


@pytest.mark.parametrize("estimator", Estimator)
def test_the_mean_over_many_logs_is_the_exact_value(estimator: Estimator) -> None:
    values = many(estimator)
    assert abs(values.mean() - TRUE) < 3.0 * values.std() / np.sqrt(len(values)) + 0.01


def test_of_the_weighted_ones_the_doubly_robust_and_marginal_have_the_smaller_spread() -> None:
    spread = {e: many(e).std() for e in WEIGHTED}
    assert spread[Estimator.MDR] < spread[Estimator.DR] < spread[Estimator.PDIS]
    assert spread[Estimator.MIS] < spread[Estimator.PDIS]


def test_under_the_logging_policy_all_weights_are_one_and_the_estimate_is_the_mean_return(data: LoggedData) -> None:
    found = estimate(data, policy(BEHAVIOUR), Estimator.PDIS, HOW)
    assert found.value == pytest.approx(data.returns().mean()) and found.effective_episodes == pytest.approx(400)


def test_densities_that_are_off_ruin_importance_sampling_and_not_the_doubly_robust() -> None:
    off = {e: abs(many(e, wrong=0.15).mean() - TRUE) for e in WEIGHTED}
    assert off[Estimator.PDIS] > 1.0 and off[Estimator.MIS] > 0.3, "the marginal weights are scaled to a mean of one"
    assert max(off[Estimator.DR], off[Estimator.MDR]) < 0.2


def test_a_q_that_can_express_nothing_ruins_fqe_and_not_the_doubly_robust() -> None:
    blind = replace(TABLE, pair=lambda states, actions: np.ones((len(states), 1)))
    how = replace(HOW, features=blind)
    found = {e: many(e, how=how) for e in (Estimator.FQE, Estimator.DR, Estimator.MDR)}
    assert abs(found[Estimator.FQE].mean() - TRUE) > 0.3
    for e in (Estimator.DR, Estimator.MDR):
        assert abs(found[e].mean() - TRUE) < 3.0 * found[e].std() / np.sqrt(40)


def test_self_normalised_weights_have_a_smaller_spread() -> None:
    plain, normalised = (many(Estimator.PDIS, how=replace(HOW, self_normalised=n)) for n in (False, True))
    assert normalised.std() < plain.std()


@pytest.mark.slow
@pytest.mark.parametrize("estimator", Estimator)
def test_ninety_five_percent_intervals_hold_the_exact_value_nearly_that_often(estimator: Estimator) -> None:
    logs = [TASK.log(BEHAVIOUR, 200, np.random.default_rng(500 + seed)) for seed in range(100)]
    found = [estimate(data, policy(TARGET), estimator, HOW) for data in logs]
    assert np.mean([e.low <= TRUE <= e.high for e in found]) >= 0.85


@pytest.mark.parametrize("estimator", WEIGHTED)
def test_a_policy_no_logged_episode_follows_is_refused(estimator: Estimator) -> None:
    never = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    data = TASK.log(never, 20, np.random.default_rng(0))
    with pytest.raises(DataError, match="no logged episode the target policy could have taken"):
        estimate(data, policy(never[:, ::-1]), estimator, HOW)
