"""Closed loops in time: vision drives until the monitor's alarm, from then on the fallback, which looks at the wheels alone.

Dead reckoning runs from the start of each run: from a fix that is off by as much as `Odometry` says, with a wheel speed and a
wheel angle that are off too. All runs advance together; a step is one frame of 50 ms.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers import taxi
from robot_stack.types import Array
from safety.dead_reckoning import BrakingFallback, DeadReckoning

BRAKE = 2.0
FALLBACK = BrakingFallback(taxi.STEER_CTE, taxi.STEER_HE, BRAKE)
SECONDS = 8.0
Steer = Callable[[Array], Array]
Mask = NDArray[np.bool_]
Alarm = Callable[[Array], Mask]


@dataclass(frozen=True, slots=True)
class Odometry:
    """Largest errors, drawn evenly: of the fix (m, rad), of the wheel speed (share), of the wheel angle (rad)."""

    fix_px: float = 0.3
    fix_th: float = np.radians(0.5)
    speed: float = 0.02
    angle: float = np.radians(0.25)

    def times(self, factor: float) -> "Odometry":
        """All of them `factor` times as large."""
        return Odometry(*(factor * e for e in (self.fix_px, self.fix_th, self.speed, self.angle)))


USUAL = Odometry()


@dataclass(frozen=True, eq=False)
class Runs:
    """What became of n runs: smallest `margin` m, whether the monitor ever `alarmed`, largest dead-reckoning error `off` m."""

    margin: Array
    alarmed: Mask
    off: Array

    @property
    def failed(self) -> Mask:
        """Left the runway (n,)."""
        return np.asarray(self.margin <= 0.0)


def drive(
    states: Array, steer: Steer, alarm: Alarm | None, seed: int = 0, odometry: Odometry = USUAL, seconds: float = SECONDS
) -> Runs:
    """Runs from `states` (n, 2). `steer(states)` is the vision controller, `alarm(states)` the monitor (None: there is none)."""
    n, dt, rng = len(states), taxi.DT, np.random.default_rng(seed)
    true, v = np.array(states), np.full(n, taxi.SPEED)
    errors = (
        rng.uniform(-1.0, 1.0, (4, n)) * np.array([odometry.fix_px, odometry.fix_th, odometry.speed, odometry.angle])[:, None]
    )
    pose, reckoning = true + errors[:2].T, DeadReckoning(taxi.WHEELBASE)
    alarmed, smallest, off = np.zeros(n, bool), taxi.margin(true), np.zeros(n)
    for _ in range(round(seconds / dt)):
        if alarm is not None:
            alarmed = alarmed | alarm(true)
        safe_phi, brake = FALLBACK.command(pose)
        phi = np.where(alarmed, safe_phi, steer(true))
        pose = reckoning.advance(pose, v * (1.0 + errors[2]), phi + errors[3], dt)
        true = true + dt * taxi.drift(true, phi, 1.0) * v[:, None]
        v = np.maximum(0.0, v + dt * np.where(alarmed, brake, 0.0))
        smallest, off = np.minimum(smallest, taxi.margin(true)), np.maximum(off, np.abs(pose - true)[:, 0])
    return Runs(smallest, alarmed, off)
