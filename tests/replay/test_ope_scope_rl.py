"""Ours and SCOPE-RL's estimators on the same logged table: the same formulas give the same numbers."""

import numpy as np
import pytest

from robot_stack.replay.ope.estimate import Estimator, Evaluation, estimate
from robot_stack.replay.ope.features import one_hot
from robot_stack.replay.ope.logged import LoggedData, LoggedEpisode, TargetPolicy
from robot_stack.types import Array

scope = pytest.importorskip(
    "scope_rl.ope.discrete", reason="needs SCOPE-RL in a venv of its own (it pins gymnasium 1.0.0): pip install scope-rl==0.2.1"
)
STATES, ACTIONS, HORIZON, GAMMA, EPISODES = 3, 2, 4, 0.9, 300
TABLE = one_hot(STATES * HORIZON, ACTIONS)
BEHAVIOUR, TARGET = np.array([0.5, 0.4, 0.6]), np.array([0.8, 0.3, 0.7])
"""The probability of action 1 in each state."""


def density(chance: Array, states: Array, actions: Array) -> Array:
    """The state is numbered anew at each time, so that Q on the table may depend on the time."""
    one = chance[(states[:, 0] % STATES).astype(int)]
    return np.asarray(np.where(actions[:, 0] > 0, one, 1.0 - one))


@pytest.fixture(scope="module")
def data() -> LoggedData:
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(STATES), (STATES, ACTIONS))
    made = []
    for _ in range(EPISODES):
        s, actions = [int(rng.integers(STATES))], []
        for _ in range(HORIZON):
            actions.append(int(rng.random() < BEHAVIOUR[s[-1]]))
            s.append(int(rng.choice(STATES, p=P[s[-1], actions[-1]])))
        numbered = np.minimum(np.arange(HORIZON + 1), HORIZON - 1) * STATES + s
        states, acted = numbered[:, None].astype(float), np.array(actions, float)[:, None]
        rewards = np.array(s[:-1]) + 0.5 * acted[:, 0] + 0.1 * rng.normal(size=HORIZON)
        made.append(LoggedEpisode(states, acted, rewards, np.log(density(BEHAVIOUR, states[:-1], acted)), terminal=True))
    return LoggedData(tuple(made), GAMMA, HORIZON)


def sample(states: Array, rng: np.random.Generator) -> Array:
    return np.asarray((rng.random(len(states)) < TARGET[(states[:, 0] % STATES).astype(int)]).astype(float)[:, None])


POLICY = TargetPolicy(sample, lambda states, actions: np.log(density(TARGET, states, actions)))


def theirs(estimator: str, data: LoggedData, **more: Array) -> float:
    """The answer of SCOPE-RL's class of that name."""
    states = np.concatenate([e.states[:-1] for e in data.episodes])
    one = TARGET[(states[:, 0] % STATES).astype(int)]
    answer = getattr(scope, estimator)().estimate_policy_value(
        step_per_trajectory=HORIZON,
        action=np.concatenate([e.actions[:, 0] for e in data.episodes]).astype(int),
        reward=np.concatenate([e.rewards for e in data.episodes]),
        pscore=np.exp(np.concatenate([e.log_density for e in data.episodes if e.log_density is not None])),
        evaluation_policy_action_dist=np.stack([1.0 - one, one], axis=1),
        gamma=GAMMA,
        **more,
    )
    return float(answer)


@pytest.mark.parametrize(("name", "normalised"), [("PerDecisionImportanceSampling", False), ("SelfNormalizedPDIS", True)])
def test_per_decision_importance_sampling_is_the_same_number(data: LoggedData, name: str, normalised: bool) -> None:
    how = Evaluation(draws=1, bootstraps=2, features=TABLE, self_normalised=normalised)
    assert estimate(data, POLICY, Estimator.PDIS, how).value == pytest.approx(theirs(name, data), rel=1e-9)


def q_of(data: LoggedData) -> Array:
    """Q by backward recursion on the logged means (a table cell was seen a hundred times, or V below is that of its state)."""
    rows = [
        (e.states[:-1, 0].astype(int), e.actions[:, 0].astype(int), e.rewards, e.states[1:, 0].astype(int)) for e in data.episodes
    ]
    s, a, r, after = (np.concatenate(column) for column in zip(*rows, strict=True))
    q = np.zeros((STATES * HORIZON, ACTIONS))
    for t in reversed(range(HORIZON)):
        v = (1.0 - TARGET[np.arange(len(q)) % STATES]) * q[:, 0] + TARGET[np.arange(len(q)) % STATES] * q[:, 1]
        goes_on = GAMMA * v[after] if t < HORIZON - 1 else 0.0 * r
        for cell in range(t * STATES, (t + 1) * STATES):
            for action in range(ACTIONS):
                mine = (s == cell) & (a == action)
                q[cell, action] = (r + goes_on)[mine].mean()
    return q


def test_the_direct_method_and_the_doubly_robust_one_agree_given_the_same_q(data: LoggedData) -> None:
    states = np.concatenate([e.states[:-1, 0] for e in data.episodes]).astype(int)
    prediction = q_of(data)[states]
    how = Evaluation(draws=400, bootstraps=2, ridge=1e-10, features=TABLE)
    fqe, dr = (estimate(data, POLICY, e, how).value for e in (Estimator.FQE, Estimator.DR))
    assert fqe == pytest.approx(theirs("DirectMethod", data, state_action_value_prediction=prediction), abs=0.01)
    assert dr == pytest.approx(theirs("DoublyRobust", data, state_action_value_prediction=prediction), abs=0.03)
