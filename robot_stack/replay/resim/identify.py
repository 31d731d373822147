"""System identification: which drives make the simulator move as the robot did?

Least squares over the parameters p of the drives, on the training recordings, open loop from their starts:

    min_p  sum_k sum_i rho(((q_sim(t_i; p) - q_rec(t_i)) / s)^2),    s: the scale of one joint's error, rho: soft l1

solved by scipy's trust region reflective method (Branch, Coleman & Li 1999) inside the bounds. Factors are searched in their
logarithm. Contacts make q_sim a rough function of p: differences are taken over a few per cent of each range, and rho keeps a
hand that slipped in one recording from deciding everything. What counts is the recording that was held out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.dynamics import Change, Part
from robot_stack.errors import ConfigError, DataError
from robot_stack.replay.resim.divergence import Divergence
from robot_stack.types import Array

Simulate = Callable[[int, Sequence[Change]], Divergence]
"""Number of a recording, what is changed -> how far the re-simulation is from it."""
RANGES = {Part.GAIN: (0.4, 2.5), Part.DAMPING: (0.25, 4.0), Part.ARMATURE: (0.25, 4.0), Part.MASS: (0.5, 2.0)}
_ADDED = (Part.FRICTION, Part.DELAY)
_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Unknown:
    """One number to find: `part` of `joints` together, between `low` and `high`, beginning at `start`."""

    part: Part
    low: float
    high: float
    start: float
    joints: tuple[str, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.low <= self.start <= self.high or (self.low <= 0.0 and not self._added):
            raise ConfigError(
                f"{self.name}: found start {self.start} in {self.low}..{self.high}; allowed low <= start <= high, factors > 0"
            )

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.part.value}.{self.group}" if self.group else self.part.value

    @property
    def _added(self) -> bool:
        return self.part in _ADDED

    def share(self, value: float) -> float:
        """`value` as 1 (low) to 2 (high), evenly or, a factor, evenly in its logarithm."""
        low, high, at = (self.low, self.high, value) if self._added else np.log([self.low, self.high, value])
        return float(1.0 + (at - low) / (high - low))

    def value(self, share: float) -> float:
        """The inverse of `share`."""
        if self._added:
            return float(self.low + (share - 1.0) * (self.high - self.low))
        return float(self.low * (self.high / self.low) ** (share - 1.0))


@dataclass(frozen=True, slots=True)
class Identified:
    """What was found. `sigma`: one standard error of each value, from the Gauss-Newton matrix (inf: the data do not say).

    `train_*` and `test_*`: rms of the training and of the held-out recordings, before (drives as the search began) and after, rad
    or m; `better` of `held_out` recordings diverge less than before.
    """

    unknowns: tuple[Unknown, ...]
    values: tuple[float, ...]
    sigma: tuple[float, ...]
    train_before: float
    train_after: float
    test_before: float
    test_after: float
    better: int
    held_out: int
    evaluations: int

    @property
    def changes(self) -> tuple[Change, ...]:
        """The drives that were found."""
        return changes_of(self.unknowns, self.values)

    @property
    def helps(self) -> bool:
        """The held-out recordings diverge less with what was found: together, and most of them each by itself.

        Together alone is not enough: where a hand slips or not, one recording of many decides the mean.
        """
        return self.test_after < self.test_before and 2 * self.better > self.held_out

    def text(self) -> str:
        """A line for each value, and the figures."""
        lines = [
            f"{unknown.name:<20}{unknown.start:>9.4g} -> {value:<9.4g} +- {sigma:.2g}"
            for unknown, value, sigma in zip(self.unknowns, self.values, self.sigma, strict=True)
        ]
        lines.append(f"divergence rms, training: {self.train_before:.3g} -> {self.train_after:.3g}")
        lines.append(f"divergence rms, held out: {self.test_before:.3g} -> {self.test_after:.3g}")
        lines.append(f"less than before: {self.better} of {self.held_out} held out")
        return "\n".join([*lines, "kept" if self.helps else "dropped: no better on what was held out"])


def changes_of(unknowns: Sequence[Unknown], values: Sequence[float]) -> tuple[Change, ...]:
    """The changes that give `unknowns` those `values`."""
    return tuple(Change(u.part, float(v), u.joints) for u, v in zip(unknowns, values, strict=True))


def drive_unknowns(groups: dict[str, tuple[str, ...]], friction: dict[str, float], delay_s: float) -> tuple[Unknown, ...]:
    """Gain, damping and dry friction (up to `friction`[group] N m) of each group of joints, and one delay up to `delay_s`."""
    found = [Unknown(Part.DELAY, 0.0, delay_s, 0.0)]
    for group, joints in groups.items():
        found += [Unknown(part, *RANGES[part], 1.0, joints, group) for part in (Part.GAIN, Part.DAMPING)]
        found.append(Unknown(Part.FRICTION, 0.0, friction[group], 0.0, joints, group))
    return tuple(found)


def identify(
    unknowns: Sequence[Unknown],
    simulate: Simulate,
    train: Sequence[int],
    test: Sequence[int],
    evaluations: int = 12,
    scale: float = 0.01,
) -> Identified:
    """Find `unknowns` on the recordings `train`, judge on `test`. `evaluations` of the residual, Jacobians (one more for each
    unknown) not counted; `scale` rad. Raises DataError when a recording is both, or none is either."""
    from scipy.optimize import least_squares

    if not train or not test or set(train) & set(test):
        raise DataError(
            f"identify: found training {list(train)}, held out {list(test)}; allowed at least one of each, none in both"
        )
    counted = 0

    def residual(shares: Array) -> Array:
        nonlocal counted
        counted += 1
        changes = changes_of(unknowns, [u.value(s) for u, s in zip(unknowns, shares, strict=True)])
        return np.concatenate([_errors(simulate(k, changes)) for k in train]) / scale

    begin = np.clip([u.share(u.start) for u in unknowns], 1.0 + 1e-6, 2.0 - 1e-6)
    solved = least_squares(residual, begin, bounds=(1.0, 2.0), loss="soft_l1", diff_step=_STEP, max_nfev=evaluations, xtol=1e-5)
    values = tuple(u.value(s) for u, s in zip(unknowns, solved.x, strict=True))
    return Identified(
        unknowns=tuple(unknowns),
        values=values,
        sigma=_standard_errors(unknowns, solved.jac, solved.fun, solved.x),
        evaluations=counted,
        **_judged(unknowns, values, simulate, train, test),
    )


def _judged(
    unknowns: Sequence[Unknown], values: Sequence[float], simulate: Simulate, train: Sequence[int], test: Sequence[int]
) -> dict[str, Any]:
    """The figures of `Identified`, before and after."""
    before, after = changes_of(unknowns, [u.start for u in unknowns]), changes_of(unknowns, values)
    train_before, train_after, test_before, test_after = (_rms(simulate, k, c) for k in (train, test) for c in (before, after))
    return {
        "train_before": _together(train_before),
        "train_after": _together(train_after),
        "test_before": _together(test_before),
        "test_after": _together(test_after),
        "better": int(np.sum(test_after < test_before)),
        "held_out": len(test),
    }


def _errors(found: Divergence) -> Array:
    """Signed errors of all joints, clipped: a simulation that blew up is bad, not infinitely so."""
    return np.clip(np.nan_to_num(found.simulated.q - found.recorded.q, nan=10.0), -10.0, 10.0).ravel()


def _rms(simulate: Simulate, recordings: Sequence[int], changes: Sequence[Change]) -> Array:
    return np.array([simulate(k, changes).rms for k in recordings])


def _together(rms: Array) -> float:
    return float(np.sqrt(np.mean(rms**2)))


def _standard_errors(unknowns: Sequence[Unknown], J: Array, residual: Array, shares: Array) -> tuple[float, ...]:
    """sqrt(diag((J^T J)^-1) s^2), s^2 the mean square of the residual, as standard errors of the values (delta method)."""
    information = J.T @ J
    if np.linalg.matrix_rank(information) < len(unknowns):
        return (float("inf"),) * len(unknowns)
    spread = np.sqrt(np.diag(np.linalg.inv(information)) * np.mean(residual**2))
    slopes = [(u.value(s + 1e-4) - u.value(s - 1e-4)) / 2e-4 for u, s in zip(unknowns, shares, strict=True)]
    return tuple(float(abs(slope) * one) for slope, one in zip(slopes, spread, strict=True))
