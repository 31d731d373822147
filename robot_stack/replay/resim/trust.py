"""Where may the simulator be trusted? A discriminator between recorded and simulated transitions, joint by joint.

H2O (Niu et al., NeurIPS 2022) weighs simulated samples by the ratio of the dynamics, from two classifiers (their eq. 10-11):

    u(s, a, s') = P_real(s'|s,a) / P_sim(s'|s,a) = [D(s,a,s') / (1 - D(s,a,s'))] [(1 - D(s,a)) / D(s,a)],   D: P(real | .)

so that what only differs in how often it is visited cancels. Here s = (q, v) and a = q* - q of one joint (v: difference of q over
a tick) and s' is its change of v less what a ridge regression on the simulated (s, a) foretells, which is what is left to tell
the two apart by. D is logistic on random Fourier features (Rahimi and Recht 2007), trained on some recordings, used on others.
A ratio near 1 where a re-simulation has drifted away says: same dynamics, another state; far from 1: other dynamics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_stack.errors import DataError
from robot_stack.types import Array

FEATURES, RIDGE, DECAY, SEED = 120, 1e-6, 1e-3, 0
CLIP = 3.0
"""|log u| is at most this, as H2O clips its ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What one recording, or its re-simulation, did: `q` (n, J) measured and `command` (n, J) in force after it; rad or m."""

    q: Array
    command: Array

    def transitions(self, joint: int) -> tuple[Array, Array]:
        """(s, a) of one joint (n - 2, 3) and its change of v (n - 2,)."""
        q, v = self.q[:, joint], np.diff(self.q[:, joint])
        e = self.command[1:-1, joint] - q[1:-1]
        return np.stack([q[1:-1], v[:-1], e], axis=1), np.diff(v)


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """`log_ratio` of each held-out recording (n - 2, J), clipped; `accuracy` (J,) of telling held-out real from simulated by
    s' beyond (s, a) (0.5: cannot be told apart)."""

    log_ratio: tuple[Array, ...]
    accuracy: Array

    @property
    def weight(self) -> Array:
        """How much each joint of the simulator is worth, (J,) in 0..1: 1 cannot be told from the robot, 0 always can."""
        return np.asarray(np.clip(2.0 - 2.0 * self.accuracy, 0.0, 1.0))

    def by_share(self, shares: int = 10) -> Array:
        """The map: mean |log u| over held-out recordings, by share of their length and joint (shares, J)."""
        parts = [[np.abs(part).mean(axis=0) for part in np.array_split(one, shares)] for one in self.log_ratio]
        return np.asarray(np.mean(parts, axis=0))


def trust(real: Sequence[Track], simulated: Sequence[Track], holdout: int) -> Trust:
    """Compare recordings and their re-simulations, one each; the last `holdout` are kept for the result. Raises DataError."""
    if len(real) != len(simulated) or not 0 < holdout < len(real):
        found = f"{len(real)} recordings, {len(simulated)} simulated, {holdout} held out"
        raise DataError(f"trust: found {found}; allowed as many of both, and some left to train on")
    kept = len(real) - holdout
    ratios, accuracy = [], []
    for joint in range(real[0].q.shape[1]):
        there, here = ([track.transitions(joint) for track in tracks] for tracks in (real, simulated))
        ratio, right = _one_joint(there, here, kept)
        ratios.append(ratio)
        accuracy.append(right)
    per_log = tuple(np.stack([ratio[i] for ratio in ratios], axis=1) for i in range(holdout))
    return Trust(per_log, np.array(accuracy))


Transitions = tuple[Array, Array]


def _one_joint(real: list[Transitions], simulated: list[Transitions], kept: int) -> tuple[list[Array], float]:
    model = _ridge(*_joined(simulated[:kept]))
    both: list[Array] = [np.column_stack([sa, _rest(model, sa, change)]) for sa, change in real + simulated]
    count = len(real)
    training = np.concatenate(both[:kept] + both[count : count + kept])
    label = np.repeat([1.0, 0.0], [sum(map(len, both[:kept])), sum(map(len, both[count : count + kept]))])
    sa, sas = _Discriminator(training[:, :3], label), _Discriminator(training, label)
    log_u = [np.clip(sas.logit(x) - sa.logit(x[:, :3]), -CLIP, CLIP) for x in both]
    there, here = np.concatenate(log_u[kept:count]), np.concatenate(log_u[count + kept :])
    accuracy = 0.5 * float(np.mean(there > 0) + np.mean(here < 0) + 0.5 * (np.mean(there == 0) + np.mean(here == 0)))
    return log_u[kept:count], accuracy


def _joined(tracks: list[Transitions]) -> Transitions:
    return np.concatenate([sa for sa, _ in tracks]), np.concatenate([change for _, change in tracks])


def _ridge(sa: Array, change: Array) -> Array:
    X = np.column_stack([sa, np.ones(len(sa))])
    penalty = RIDGE * len(X) * np.diag(X.var(axis=0) + 1e-12)
    return np.asarray(np.linalg.solve(X.T @ X + penalty, X.T @ change), dtype=np.float64)


def _rest(model: Array, sa: Array, change: Array) -> Array:
    return np.asarray(change - np.column_stack([sa, np.ones(len(sa))]) @ model)


class _Discriminator:
    """Logistic regression on random Fourier features of standardised inputs; equal weight to both labels."""

    def __init__(self, x: Array, label: Array) -> None:
        from scipy.optimize import minimize

        rng = np.random.default_rng(SEED)
        self._middle, self._scale = x.mean(axis=0), x.std(axis=0) + 1e-12
        self._W = rng.normal(size=(x.shape[1], FEATURES))
        self._b = rng.uniform(0.0, 2.0 * np.pi, FEATURES)
        phi, sign = self._features(x), 2.0 * label - 1.0
        share = np.where(label > 0, 0.5 / label.mean(), 0.5 / (1.0 - label.mean())) / len(label)

        def loss(w: Array) -> tuple[float, Array]:
            margin = sign * (phi @ w)
            slope = -sign * share / (1.0 + np.exp(np.clip(margin, -50.0, 50.0)))
            return float(share @ np.logaddexp(0.0, -margin) + 0.5 * DECAY * (w @ w)), phi.T @ slope + DECAY * w

        self._w = minimize(loss, np.zeros(phi.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x

    def logit(self, x: Array) -> Array:
        """log D / (1 - D), (n,)."""
        return np.asarray(self._features(x) @ self._w)

    def _features(self, x: Array) -> Array:
        z = np.clip((x - self._middle) / self._scale, -5.0, 5.0)
        return np.column_stack([z, np.cos(z @ self._W + self._b) * np.sqrt(2.0 / FEATURES), np.ones(len(z))])
