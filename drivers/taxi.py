"""An aircraft that taxis by camera: the plant, the published steering law, and the world in lock-step (arXiv 2211.02736).

State (px, th): crosstrack error, m, positive to the right of the centre line; heading error, rad, positive to the right.

    px' = v sin th,   py' = v cos th,   th' = (v / L) tan phi,   v = 5 m/s,  L = 5 m
    phi = -0.74 cte - 0.44 he  in degrees, of the estimated cte (m) and he (deg), no clip

A taxi run fails when |px| reaches 10 m. Downtrack py changes neither plant nor picture, so the closed loop has two states.
"""

import math
from dataclasses import dataclass

import numpy as np

from drivers.runway import CLEAR_MORNING, Condition, render
from robot_stack.errors import DriverError
from robot_stack.types import Array, CameraFrame

SPEED = 5.0
WHEELBASE = 5.0
HALF_WIDTH = 10.0
DT = 0.05
STEER_CTE = math.radians(0.74)
STEER_HE = 0.44
CAMERA = "nose"
_SUBSTEP_S = 0.01


@dataclass(frozen=True, slots=True)
class TaxiState:
    """Crosstrack `px` m, downtrack `py` m, heading `th` rad, speed `v` m/s: the simulator's truth, for scoring only."""

    px: float
    py: float
    th: float
    v: float

    @property
    def failed(self) -> bool:
        """Off the runway."""
        return abs(self.px) >= HALF_WIDTH


def steering(estimate: Array) -> Array:
    """phi (n,) rad of estimates (n, 2): crosstrack m, heading rad."""
    return np.asarray(-STEER_CTE * estimate[:, 0] - STEER_HE * estimate[:, 1])


def drift(state: Array, phi: Array, speed: float | Array = SPEED) -> Array:
    """(px', th') (n, 2) of states (n, 2) with steering angles phi (n,) rad at `speed` m/s."""
    return np.stack([speed * np.sin(state[:, 1]), speed / WHEELBASE * np.tan(phi)], axis=1)


def ideal_drift(state: Array) -> Array:
    """The closed loop (n, 2) of perfect state feedback."""
    return drift(state, steering(state))


def margin(state: Array) -> Array:
    """l (n,) m: distance to the failure set |px| >= 10 m, negative inside it."""
    return np.asarray(HALF_WIDTH - np.abs(state[:, 0]))


class TaxiWorld:
    """One aircraft on a runway in `condition`, in lock-step (`World`). `steer` and `accelerate` hold until the next call."""

    def __init__(self, condition: Condition = CLEAR_MORNING) -> None:
        self.condition = condition
        self.reset(0)

    def reset(self, seed: int) -> None:
        """A start drawn from `seed`: at speed, |px| <= 6 m, |th| <= 10 degrees, inside the ideal controller's safe set."""
        self._noise = np.random.default_rng(seed)
        self.place(self._noise.uniform(-6.0, 6.0), np.radians(self._noise.uniform(-10.0, 10.0)))

    def place(self, px: float, th: float) -> None:
        """At (`px` m, `th` rad), at speed, wheels straight, time 0."""
        self.state = TaxiState(float(px), 0.0, float(th), SPEED)
        self.t_ns, self._phi, self._a = 0, 0.0, 0.0

    def steer(self, phi: float) -> None:
        """Nose wheel to `phi` rad. Raises DriverError on what is no number or not within +-90 degrees; never clamps."""
        if not abs(phi) < 0.5 * np.pi:
            raise DriverError(f"taxi.steer: found phi={phi} rad, allowed -pi/2 < phi < pi/2")
        self._phi = float(phi)

    def accelerate(self, a: float) -> None:
        """Speed changes by `a` m/s^2, never below 0. Raises DriverError on what is no number."""
        if not np.isfinite(a):
            raise DriverError(f"taxi.accelerate: found a={a} m/s^2, allowed finite")
        self._a = float(a)

    def advance(self, dt_ns: int) -> None:
        """Let `dt_ns` pass, in Euler steps of at most 10 ms."""
        steps = max(1, round(dt_ns * 1e-9 / _SUBSTEP_S))
        dt, s = dt_ns * 1e-9 / steps, self.state
        for _ in range(steps):
            px, th = s.px + dt * s.v * np.sin(s.th), s.th + dt * s.v / WHEELBASE * np.tan(self._phi)
            s = TaxiState(px, s.py + dt * s.v * np.cos(s.th), th, max(0.0, s.v + dt * self._a))
        self.state, self.t_ns = s, self.t_ns + dt_ns

    def render(self, camera: str = CAMERA) -> CameraFrame:
        """What the nose camera sees now. Raises DriverError on another camera's name."""
        if camera != CAMERA:
            raise DriverError(f"taxi.render: found camera {camera!r}, allowed {CAMERA!r}")
        state = np.array([[self.state.px, self.state.th]])
        return CameraFrame(camera, self.t_ns, render(state, self.condition, self._noise)[0])
