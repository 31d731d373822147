"""What is odd about an episode among others: corrupted steps by robust statistics, jerk, idle time.

Corruption as in RIQL's benchmark (Yang et al., ICLR 2024): at a share of steps states or actions are off by noise of the data's
own scale. Each step has signals, and each signal of a joint a z from the median over all episodes:

    joint     q_t less the median of q_{t-2} .. q_{t+2} (Hampel's filter)
    command   a_t likewise
    speed     (q_{t+1} - q_t) rate
    residual  a_t less a linear inverse dynamics W [q_t, q_{t+1} - q_t, 1], fitted with Huber weights, less its own local median

    z = |x - median| / max(1.4826 MAD, floor),  floor = a share of the span between the 5th and 95th percentile

of what the joint does, or of its speeds. A clean signal is zero most of the time, so without the floor its MAD, and any z with
it, would mean nothing: a hand that mostly rests would be an outlier whenever it moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_stack.relabel.motion import Motion
from robot_stack.types import Array

Z_MAX, CORRUPT_SHARE = 10.0, 0.025
"""A step with a larger z is an outlier; an episode with a larger share of outliers is called corrupt."""

FLOORS: Mapping[str, float] = {"joint": 0.01, "command": 0.02, "speed": 2.0, "residual": 0.02}
IDLE_SPEED = 0.01
"""rad/s (m/s): a row in which no joint is faster is idle."""

HALF, TO_STD, HUBER, ROUNDS = 2, 1.4826, 1.345, 5


@dataclass(frozen=True, slots=True, eq=False)
class StepQuality:
    """Per row (n,): the largest `z` of any joint and signal, and `idle` (0 or 1)."""

    z: Array
    idle: Array

    @property
    def outliers(self) -> float:
        """The share of rows beyond `Z_MAX`."""
        return float((self.z > Z_MAX).mean())

    @property
    def corrupt(self) -> bool:
        """More outliers than `CORRUPT_SHARE`."""
        return self.outliers > CORRUPT_SHARE


def step_quality(motions: Sequence[Motion]) -> list[StepQuality]:
    """One for each of `motions`, against the medians of all of them together."""
    signals = [_signals(motion, *model) for model in [_inverse(motions)] for motion in motions]
    every = {name: np.concatenate([s[name] for s in signals]) for name in FLOORS}
    spans = {
        name: _span(np.concatenate([m.action if name in ("command", "residual") else m.q for m in motions])) for name in FLOORS
    }
    spans["speed"] = _span(every["speed"])
    scales = {name: _scale(values, FLOORS[name] * spans[name]) for name, values in every.items()}
    return [StepQuality(_worst(found, scales), _idle(motion)) for found, motion in zip(signals, motions, strict=True)]


def jerk(motion: Motion) -> float:
    """Root mean square of the third derivative, over all joints: rad/s^3 where they turn. 0 for fewer than four rows."""
    third = np.diff(motion.q, n=3, axis=0) * motion.rate_hz**3
    return float(np.sqrt(np.mean(third**2))) if third.size else 0.0


def tracking(motion: Motion) -> float:
    """Median distance of the measured joints from what was commanded, rad; NaN where actions are no positions."""
    return float(np.median(np.abs(motion.action - motion.q))) if motion.follows else float("nan")


def _idle(motion: Motion) -> Array:
    speed = np.abs(np.diff(motion.q, axis=0, append=motion.q[-1:])).max(axis=1) * motion.rate_hz
    return np.asarray(speed < IDLE_SPEED, dtype=np.float64)


def _signals(motion: Motion, weights: Array, middle: Array) -> dict[str, Array]:
    residual = motion.action - (_inputs(motion) - middle) @ weights
    speed = np.diff(motion.q, axis=0, append=motion.q[-1:]) * motion.rate_hz
    return {
        "joint": motion.q - local_median(motion.q),
        "command": motion.action - local_median(motion.action),
        "speed": speed,
        "residual": residual - local_median(residual),
    }


def local_median(values: Array) -> Array:
    """(n, D): the median of the five rows around each; the ends repeat."""
    padded = np.pad(values, ((HALF, HALF), (0, 0)), mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * HALF + 1, axis=0), axis=-1))


def _inputs(motion: Motion) -> Array:
    steps = np.diff(motion.q, axis=0, append=motion.q[-1:])
    return np.hstack([motion.q, steps, np.ones((len(motion), 1))])


def _inverse(motions: Sequence[Motion]) -> tuple[Array, Array]:
    """Weights (W, A) and the offset of the inputs (W,) of the linear inverse dynamics: least squares, reweighted by Huber."""
    x, a = np.concatenate([_inputs(m) for m in motions]), np.concatenate([m.action for m in motions])
    middle = np.append(np.median(x[:, :-1], axis=0), 0.0)
    x = x - middle
    ridge = 1e-6 * len(x) * np.eye(x.shape[1])
    weight = np.ones(len(x))
    for _ in range(ROUNDS):
        solution = np.linalg.solve((x * weight[:, None]).T @ x + ridge, (x * weight[:, None]).T @ a)
        size = np.abs(a - x @ solution) / _scale(a - x @ solution, 1e-9)[1]
        weight = np.minimum(1.0, HUBER / np.maximum(size.max(axis=1), 1e-12))
    return solution, middle


def _span(values: Array) -> Array:
    low, high = np.percentile(values, (5, 95), axis=0)
    return np.asarray(high - low)


def _scale(values: Array, floor: Array | float) -> tuple[Array, Array]:
    """Median (D,) and robust deviation (D,), at least `floor` (and never zero), of `values` (n, D)."""
    middle = np.median(values, axis=0)
    return middle, np.maximum(np.maximum(TO_STD * np.median(np.abs(values - middle), axis=0), floor), 1e-9)


def _worst(signals: Mapping[str, Array], scales: Mapping[str, tuple[Array, Array]]) -> Array:
    z = [np.abs(values - scales[name][0]) / scales[name][1] for name, values in signals.items()]
    return np.asarray(np.max(np.hstack(z), axis=1))
