"""Continuous states and actions: a linear system whose values a recursion gives exactly, and the boat's benchmark in small."""

from pathlib import Path

import numpy as np

from benchmarks import bench_ope
from benchmarks.ope_boat import BEHAVIOUR, ROWERS, logged
from robot_stack.replay.ope.estimate import Estimator, Evaluation, estimate
from robot_stack.replay.ope.logged import LoggedData, LoggedEpisode, TargetPolicy
from robot_stack.types import Array

STEPS, NOISE, SIGMA = 8, 0.05, 0.3


def exact(gain: float) -> float:
    """``x' = 0.9 x + 0.5 a + N(0, s^2)``, ``a = -K x + N(0, sigma^2)``, ``r = 1 - x^2``: E x^2 by the recursion of its moment."""
    second, value = 1.0, 0.0
    for _ in range(STEPS):
        value += 1.0 - second
        second = (0.9 - 0.5 * gain) ** 2 * second + 0.25 * SIGMA**2 + NOISE**2
    return value


def line(gain: float) -> TargetPolicy:
    def sample(states: Array, rng: np.random.Generator) -> Array:
        return -gain * states + SIGMA * rng.normal(size=states.shape)

    def log_density(states: Array, actions: Array) -> Array:
        return (-0.5 * ((actions + gain * states) / SIGMA) ** 2 - np.log(SIGMA * np.sqrt(2 * np.pi)))[:, 0]

    return TargetPolicy(sample, log_density)


def log_line(gain: float, episodes: int, seed: int) -> LoggedData:
    rng, policy = np.random.default_rng(seed), line(gain)
    assert policy.log_density is not None
    made = []
    for _ in range(episodes):
        states, actions = [rng.normal(size=(1, 1))], []
        for _ in range(STEPS):
            actions.append(policy.sample(states[-1], rng))
            states.append(0.9 * states[-1] + 0.5 * actions[-1] + NOISE * rng.normal(size=(1, 1)))
        s, a = np.concatenate(states), np.concatenate(actions)
        made.append(LoggedEpisode(s, a, 1.0 - s[:-1, 0] ** 2, policy.log_density(s[:-1], a)))
    return LoggedData(tuple(made))


def test_every_estimator_finds_the_exact_value_of_a_linear_system() -> None:
    data = log_line(0.4, 200, 0)
    for estimator in Estimator:
        found = estimate(data, line(0.55), estimator, Evaluation(bootstraps=40))
        assert found.low <= exact(0.55) <= found.high, f"{estimator}: {found}, true {exact(0.55):.3f}"
        assert found.high - found.low < 3.0


def test_the_estimators_order_policies_of_the_boat_as_their_true_values_do(tmp_path: Path) -> None:
    some = [ROWERS[0], *(r for r in ROWERS if r.name in ("faster", "careful", "slow", "drifting"))]
    variants = {e.value: (e, Evaluation(draws=2, bootstraps=4)) for e in (Estimator.FQE, Estimator.MDR)}
    result = bench_ope.main(["1"], some, episodes=100, variants=variants, folder=tmp_path)
    assert len(result.samples) == 4
    for name in variants:
        assert result.extra[name]["interval_holds"] <= result.extra[name]["interval_holds_widened"] <= 1.0
        assert result.extra[name]["spearman"] >= 0.7 and result.extra[name]["regret@1"] <= 0.2


def test_a_run_that_was_interrupted_goes_on_where_it_stopped(tmp_path: Path) -> None:
    some, how, file = ROWERS[:2], Evaluation(draws=1, bootstraps=1, widen=1.0), tmp_path / "ledger.jsonl"
    variants = {"fqe": (Estimator.FQE, how)}
    first = bench_ope.scores(some, [5], 20, variants, file)
    begun = file.read_text()
    both = bench_ope.scores(some, [5, 6], 20, variants, file)
    assert both[0] == first[0] and file.read_text().startswith(begun)
    assert [one.seed for one in both] == [5, 6] and both[0].values != both[1].values
    assert bench_ope.Score(5, "fqe", 0.0, [[1.0, 0.9, 1.1]], 0.0).holds([0.0, 1.15], 1.0) == 0.0
    assert bench_ope.Score(5, "fqe", 0.0, [[1.0, 0.9, 1.1]], 0.0).holds([0.0, 1.15], 2.0) == 1.0


def test_the_boat_s_weights_die_out_over_a_long_horizon_and_the_marginal_ones_do_not() -> None:
    data, how = logged(BEHAVIOUR, 100, 3), Evaluation(bootstraps=2)
    faster = next(r for r in ROWERS if r.name == "faster").target()
    cumulative, marginal = (estimate(data, faster, e, how).effective_episodes for e in (Estimator.PDIS, Estimator.MIS))
    assert cumulative < 5 < 20 < marginal
