"""Where may the simulator be trusted? A discriminator between recorded and simulated transitions, joint by joint.

H2O (Niu et al., NeurIPS 2022) weighs simulated samples by the ratio of the dynamics, from two classifiers (their eq. 10-11):

    u(s, a, s') = P_real(s'|s,a) / P_sim(s'|s,a) = [D(s,a,s') / (1 - D(s,a,s'))] [(1 - D(s,a)) / D(s,a)],   D: P(real | .)

so that what only differs in how often it is visited cancels. Here s = (q, v) and a = q* - q of one joint (v: difference of q over
a tick) and s' is its change of v less what a ridge regression on the simulated (s, a) foretells, which is what is left to tell
the two apart by. D is logistic on random Fourier features (Rahimi and Recht 2007), trained on some recordings, used on others.
A ratio near 1 where a re-simulation has drifted away says: same dynamics, another state; far from 1: other dynamics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from robot_stack.errors import DataError
from robot_stack.replay.resim.divergence import Divergence
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
    """log u of the transitions of each recording, `real` and `simulated` (n - 2, J), clipped; row i is of the step to sample
    i + 2. `accuracy` (J,) of telling real from simulated by s' beyond (s, a) (0.5: cannot be told apart)."""

    real: tuple[Array, ...]
    simulated: tuple[Array, ...]
    accuracy: Array

    @property
    def weight(self) -> Array:
        """How much each joint of the simulator is worth, (J,) in 0..1: 1 cannot be told from the robot, 0 always can."""
        return np.asarray(np.clip(2.0 - 2.0 * self.accuracy, 0.0, 1.0))

    def by_share(self, shares: int = 10) -> Array:
        """The map: mean |log u| over recordings, by share of their length and joint (shares, J)."""
        parts = [[np.abs(part).mean(axis=0) for part in np.array_split(one, shares)] for one in self.real]
        return np.asarray(np.mean(parts, axis=0))


@dataclass(frozen=True, slots=True)
class Weighted:
    """A result of the simulator as it came out, and weighted by u; `worth`: how many unweighted recordings the weights of
    success are worth (Kong 1992). `success` is a share of recordings, `rms` of the divergence in rad or m."""

    success: float
    success_weighted: float
    rms: float
    rms_weighted: float
    worth: float
    recordings: int

    def __str__(self) -> str:
        return (
            f"weighted by the ratio of recorded to simulated transitions: success {self.success:.1%} -> "
            f"{self.success_weighted:.1%} (worth {self.worth:.1f} of {self.recordings} recordings), "
            f"divergence rms {self.rms:.3g} -> {self.rms_weighted:.3g}"
        )


def weighted(found: Sequence[Divergence], log_ratio: Sequence[Array]) -> Weighted:
    """Re-simulations weighted by log u (n - 2, J) of each one's own transitions: `Trust.simulated`.

        rms^2 = sum u d^2 / sum u over steps and joints        success = sum_k w_k s_k / sum_k w_k,   w_k = exp(mean log u)

    The product of u over a recording would leave one recording of all; its geometric mean keeps what a step says on average.
    Raises DataError where the numbers of steps differ.
    """
    shapes = [(one.joints[2:].shape, ratio.shape) for one, ratio in zip(found, log_ratio, strict=True)]
    if any(of != have for of, have in shapes):
        raise DataError(f"weighted: found ratios of {[have for _, have in shapes]}, allowed {[of for of, _ in shapes]}")
    squares = np.concatenate([one.joints[2:].ravel() ** 2 for one in found])
    u = np.exp(np.concatenate([ratio.ravel() for ratio in log_ratio]))
    w = np.exp([ratio.mean() for ratio in log_ratio])
    success = np.array([bool(one.simulated.success) for one in found], dtype=np.float64)
    return Weighted(
        success=float(success.mean()),
        success_weighted=float(w @ success / w.sum()),
        rms=float(np.sqrt(squares.mean())),
        rms_weighted=float(np.sqrt(u @ squares / u.sum())),
        worth=float(w.sum() ** 2 / (w @ w)),
        recordings=len(found),
    )


def trust(real: Sequence[Track], simulated: Sequence[Track], folds: int = 2) -> Trust:
    """Compare recordings and their re-simulations, one each. Every one is judged by what the other folds taught. DataError."""
    if len(real) != len(simulated) or not 2 <= folds <= len(real):
        found = f"{len(real)} recordings, {len(simulated)} simulated, {folds} folds"
        raise DataError(f"trust: found {found}; allowed as many of both, and 2 folds or more of at least one")
    there, here, accuracy = [], [], []
    for joint in range(real[0].q.shape[1]):
        log_u = _one_joint([one.transitions(joint) for one in real], [one.transitions(joint) for one in simulated], folds)
        there.append(log_u[0])
        here.append(log_u[1])
        accuracy.append(_accuracy(*log_u))
    return Trust(_by_recording(there), _by_recording(here), np.array(accuracy))


def _by_recording(log_u: Sequence[Sequence[Array]]) -> tuple[Array, ...]:
    """(J) lists of (n - 2,) arrays as one (n - 2, J) array a recording."""
    return tuple(np.stack(joints, axis=1) for joints in zip(*log_u, strict=True))


def _accuracy(real: Sequence[Array], simulated: Sequence[Array]) -> float:
    there, here = np.concatenate(real), np.concatenate(simulated)
    return 0.5 * float(np.mean(there > 0) + np.mean(here < 0) + 0.5 * (np.mean(there == 0) + np.mean(here == 0)))


Transitions = tuple[Array, Array]


def _one_joint(real: list[Transitions], simulated: list[Transitions], folds: int) -> tuple[list[Array], list[Array]]:
    """log u of the transitions of every recording, real and simulated."""
    there, here = [np.zeros(0)] * len(real), [np.zeros(0)] * len(real)
    for fold in range(folds):
        judged = range(fold, len(real), folds)
        taught = [i for i in range(len(real)) if i not in judged]
        log_u = _taught([real[i] for i in taught], [simulated[i] for i in taught])
        for i in judged:
            there[i], here[i] = log_u(real[i]), log_u(simulated[i])
    return there, here


def _taught(real: list[Transitions], simulated: list[Transitions]) -> Callable[[Transitions], Array]:
    """log u as a function of transitions, from those of recordings and of their re-simulations."""
    model = _ridge(*_joined(simulated))
    both = [np.column_stack([sa, _rest(model, sa, change)]) for sa, change in (_joined(real), _joined(simulated))]
    training, label = np.concatenate(both), np.repeat([1.0, 0.0], [len(part) for part in both])
    sa, sas = _Discriminator(training[:, :3], label), _Discriminator(training, label)

    def log_u(transitions: Transitions) -> Array:
        x = np.column_stack([transitions[0], _rest(model, *transitions)])
        return np.asarray(np.clip(sas.logit(x) - sa.logit(x[:, :3]), -CLIP, CLIP))

    return log_u


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
