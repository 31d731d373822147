"""Predictors that any learned policy has to beat, fitted on the episodes the policy was trained on.

All but the mean trajectory are relative to the measured joints.
Ridge: ``W = (X'X + penalty I)^-1 X'Y`` on standardised inputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from policies.recorded import chunks, velocities
from robot_stack.data.episode import Episode
from robot_stack.types import Array

Predict = Callable[[Episode], Array]
"""Chunks (n, T, J), absolute, one for each sample of an episode."""

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


@dataclass(frozen=True)
class Window:
    """The chunk that is predicted: `rows` T at `rate_hz`."""

    rows: int
    rate_hz: float

    def of(self, episode: Episode) -> Array:
        """Recorded chunks (n, T, J)."""
        return chunks(episode, self.rows, self.rate_hz)


def hold_pose(window: Window) -> Predict:
    """Stay where the joints were measured."""
    return lambda episode: np.repeat(episode.q[:, None], window.rows, axis=1)


def hold_command(window: Window) -> Predict:
    """Stay at the command of this very sample. No policy sees it: it is the first row of what is to be predicted."""
    return lambda episode: np.repeat(episode.action[:, None], window.rows, axis=1)


def mean_trajectory(train: Sequence[Episode], window: Window) -> Predict:
    """The mean command of the training episodes at the same time since the start, whatever the joints and pictures say."""
    longest = max(len(e) for e in train)
    kept = np.stack([np.concatenate([e.action, np.repeat(e.action[-1:], longest - len(e), axis=0)]) for e in train])
    mean = kept.mean(axis=0)

    def predict(episode: Episode) -> Array:
        step = episode.rate_hz / window.rate_hz
        at = np.arange(len(episode))[:, None] + np.round(np.arange(window.rows) * step).astype(int)
        rows: Array = mean[np.minimum(at, longest - 1)]
        return rows

    return predict


def ridge(train: Sequence[Episode], window: Window, speeds: bool, penalty: float | None) -> Predict:
    """Linear in the joints, and in their speeds where asked. `penalty` None: the best on the last quarter of `train`."""
    if penalty is None:
        penalty = _best_penalty(train, window, speeds)
    x = np.concatenate([_inputs(e, speeds) for e in train])
    y = np.concatenate([window.of(e) - e.q[:, None] for e in train])
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-3
    x = _standardised(x, mean, std)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y.reshape(len(y), -1))

    def predict(episode: Episode) -> Array:
        delta = _standardised(_inputs(episode, speeds), mean, std) @ weights
        whole: Array = episode.q[:, None] + delta.reshape(len(episode), window.rows, -1)
        return whole

    return predict


def _best_penalty(train: Sequence[Episode], window: Window, speeds: bool) -> float:
    cut = max(1, len(train) * 3 // 4)
    fit, judge = train[:cut], train[cut:] or train[:1]

    def error(penalty: float) -> float:
        predict = ridge(fit, window, speeds, penalty)
        return float(np.mean([np.abs(predict(e) - window.of(e)).mean() for e in judge]))

    return min(PENALTIES, key=error)


def _inputs(episode: Episode, speeds: bool) -> Array:
    return np.concatenate([episode.q, velocities(episode)], axis=1) if speeds else episode.q


def _standardised(x: Array, mean: Array, std: Array) -> Array:
    return np.concatenate([(x - mean) / std, np.ones((len(x), 1))], axis=1)
