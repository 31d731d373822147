"""Fitted Q evaluation (Le, Voloshin and Yue, ICML 2019) with a linear Q, one for each number of decisions that are left.

    Q_0 = 0        Q_k = argmin_w  sum_i (phi(s_i, a_i) w - r_i - gamma V_{k-1}(s'_i))^2 + lambda N |w|^2
    V_k(s) = E_{a ~ pi} Q_k(s, a)                                        J = E[V_H(s_0)],   k = 1 ... H

With a linear Q this is the model-based plug-in estimator and a marginalised importance sampling one at once, and attains the
lower bound of its class (Duan, Jia and Wang, ICML 2020). Targets are kept between the least and the most k decisions could earn
at the rewards seen, so that no fit runs away. Expectations over pi are means over the proposals.
"""

from dataclasses import dataclass

import numpy as np

from robot_stack.replay.ope.features import Features
from robot_stack.replay.ope.logged import LoggedData, Proposals
from robot_stack.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Rows of all episodes end to end (N): `phi` (N, D) of logged pairs, `phi_pi` (N, D) the same state under pi, `phi_next`
    the state after it (0 when terminal), `phi_start` (E, D), `rewards` (N,), `episode` (N,) whose row it is, `time` (N,)."""

    phi: Array
    phi_pi: Array
    phi_next: Array
    phi_start: Array
    rewards: Array
    episode: Array
    time: Array


def design(data: LoggedData, proposals: Proposals, features: Features) -> Design:
    """The features of everything that is logged and proposed, cut at the horizon."""
    logged, under_pi, after, start = [], [], [], []
    for e, drawn in zip(data.episodes, proposals.actions, strict=True):
        n = min(len(e), data.horizon)
        logged.append(features.pair(e.states[:n], e.actions[:n]))
        pi = np.mean([features.pair(e.states[: n + 1], drawn[: n + 1, m]) for m in range(drawn.shape[1])], axis=0)
        if e.terminal and n == len(e):
            pi[-1] = 0.0
        under_pi.append(pi[:-1])
        after.append(pi[1:])
        start.append(pi[0])
    lengths = [len(rows) for rows in logged]
    return Design(
        phi=np.concatenate(logged),
        phi_pi=np.concatenate(under_pi),
        phi_next=np.concatenate(after),
        phi_start=np.stack(start),
        rewards=np.concatenate([e.rewards[: data.horizon] for e in data.episodes]),
        episode=np.repeat(np.arange(len(lengths)), lengths),
        time=np.concatenate([np.arange(n) for n in lengths]),
    )


def fitted_q(rows: Design, data: LoggedData, counts: Array, ridge: float) -> Array:
    """The weights w (H + 1, D) of Q_0 ... Q_H, fitted with each episode counted `counts` (E,) times."""
    times = np.maximum(counts, 0.0)[rows.episode]
    used = times > 0
    phi, phi_next, rewards, times = rows.phi[used], rows.phi_next[used], rows.rewards[used], times[used]
    weighted = phi * times[:, None]
    gram = phi.T @ weighted + ridge * times.sum() * np.eye(phi.shape[1])
    inverse = np.linalg.inv(gram)
    most, least = _bounds(rows.rewards, data)
    w = np.zeros((data.horizon + 1, phi.shape[1]))
    for k in range(1, data.horizon + 1):
        target = np.clip(phi_next @ w[k - 1], least[k - 1], most[k - 1])
        w[k] = inverse @ ((rewards + data.discount * target) @ weighted)
    return w


def _bounds(rewards: Array, data: LoggedData) -> tuple[Array, Array]:
    """The most and the least that 0 ... H decisions can earn at the rewards seen; an episode may end at any time."""
    earned = np.concatenate([[0.0], np.cumsum(data.discounts)])
    return earned * max(rewards.max(), 0.0), earned * min(rewards.min(), 0.0)


def direct(rows: Design, w: Array, counts: Array) -> float:
    """J: the mean of V_H over the first states, each episode counted `counts` times."""
    return float(counts @ (rows.phi_start @ w[-1]) / counts.sum())
