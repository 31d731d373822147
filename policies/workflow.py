"""Which checkpoint of a critic to take, and whether it over- or underfits, without a robot.

After Kumar et al., "A Workflow for Offline Model-Free Robotic RL" (CoRL 2021): the mean Q of the dataset rises while something
is learned, and when it falls again afterwards the critic overfits; the checkpoint is taken at its peak. A TD error that stays
high is underfitting: a larger network, or more steps. The paper judges conservative critics (CQL) and their regulariser too;
IQL has none, so that half of its underfitting test does not apply here.

What is ours: the TD error is counted as the share of the targets' variance it leaves unexplained, which does not depend on the
size of rewards. And Q is compared with what was really earned from there on, in episodes that were kept out of training: where
that correlation falls while training goes on, a critic learns its episodes by heart, long before Q falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FALL, HELD_FALL, UNEXPLAINED = 0.1, 0.1, 0.5
"""Overfitting: dataset Q has lost this share of its rise, or the correlation on held-out episodes so much. Underfitting: this
share of the targets' variance is unexplained at the end."""


@dataclass(frozen=True, slots=True)
class Check:
    """One look at a critic in training. `q`: mean over the dataset; `td`: mean squared TD error there; `explained`: 1 - td / the
    targets' variance; `held`: correlation of Q with what was earned, in episodes kept out (NaN: there is none)."""

    step: int
    q: float
    td: float
    explained: float
    held: float = float("nan")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`best`: the index of the check to take; what the run suffers from, if anything."""

    best: int
    overfitting: bool
    underfitting: bool

    def __str__(self) -> str:
        found = [word for word, is_so in (("overfitting", self.overfitting), ("underfitting", self.underfitting)) if is_so]
        return f"check {self.best} taken; {' and '.join(found) or 'neither over- nor underfitting'}"


def judge(checks: Sequence[Check]) -> Verdict:
    """The verdict on a run: where one of the two curves of overfitting falls, the earlier peak is taken, else the last check.

    Raises ValueError on no check.
    """
    if not checks:
        raise ValueError("checks: found none, allowed at least 1")
    peaks = [_peak_of_q(_smooth([c.q for c in checks])), _peak_of_held(_smooth([c.held for c in checks]))]
    fallen = [peak for peak in peaks if peak is not None]
    underfitting = not checks[-1].explained >= 1.0 - UNEXPLAINED
    return Verdict(min(fallen, default=len(checks) - 1), bool(fallen), underfitting)


Curve = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _smooth(curve: Sequence[float]) -> Curve:
    """The median of each point and its neighbours: one outlier makes no peak."""
    padded = np.concatenate([curve[:1], curve, curve[-1:]])
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0), dtype=np.float64)


def _peak_of_q(q: Curve) -> int | None:
    """Where `q` was highest, if it first rose (by more than noise) and has lost a share of that since; None: it has not."""
    top = int(np.argmax(q))
    rise, lost = q[top] - q[: top + 1].min(), q[top] - q[-1]
    return top if rise > FALL * np.ptp(q) and lost > FALL * rise else None


def _peak_of_held(held: Curve) -> int | None:
    """Where Q knew most of what was kept out, if it clearly knows less in the end; None: it does not, or nothing was kept out."""
    if np.isnan(held[-1]):
        return None
    top = int(np.nanargmax(held))
    return top if held[top] - held[-1] > HELD_FALL else None
