"""What moves the arm when the policy may not: brake to a hold and, if asked for, go slowly back the way the arm came.

It sees the joints and nothing else, so that a blinded camera can't mislead it. It runs all the time beside the policy (hot
standby) and can't know whether it is listened to: while something else drives the arm its wish is the point where braking now
would end; once the arm rests near that point the point is kept, so that sag and noise don't make it creep.
A wish to rest has speed zero, a retreat says no speed.
"""

from collections import deque

import numpy as np

from robot_stack.config.schema import SafetySettings
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, JointCommand, JointState
from safety.arbitration import usable
from safety.braking import stop_distance
from safety.limits import JointLimits

NEAR = 0.015
"""A joint is near a point within this share of what it moves in a second at full speed."""

STEPS = 100
"""Points of the way back that are remembered, each `NEAR` or more from the one before."""


class BrakeAndRetreat:
    """The FallbackController that ships. After `fallback_wait_s` of rest it retreats at `fallback_retreat_speed` (0: never)."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        self._limits = JointLimits(spec)
        self._near = NEAR * spec.qd_max
        self._wait_ns = round(settings.fallback_wait_s * 1e9)
        self._speed = settings.fallback_retreat_speed
        self._way: deque[Array] = deque(maxlen=STEPS)
        self._hold: Array | None = None
        self._rest_ns = 0
        self._last_ns = 0

    def command(self, joints: JointState, now_ns: int) -> JointCommand:
        """Where to be at `now_ns`. Joints that are not finite: the last hold; before any, what was measured, refused later."""
        if not usable(joints, self._near.size):
            return JointCommand(now_ns, joints.q if self._hold is None else self._hold)
        if self._hold is None or (np.abs(joints.q - self._hold) > self._near).any():
            self._hold = self._stop_point(joints)
            self._rest_ns = now_ns
            self._remember(joints.q)
        elif self._speed > 0.0 and self._way and now_ns - self._rest_ns >= self._wait_ns:
            self._hold = self._back(self._hold, (now_ns - self._last_ns) * 1e-9)
            self._last_ns = now_ns
            return JointCommand(now_ns, self._hold)
        self._last_ns = now_ns
        return JointCommand(now_ns, self._hold, np.zeros_like(self._hold))

    def _stop_point(self, joints: JointState) -> Array:
        limits = self._limits
        q, v = limits.settle(joints.q, joints.qd)
        return np.minimum(np.maximum(q + stop_distance(v, limits.change, limits.dt), limits.q_min), limits.q_max)

    def _remember(self, q: Array) -> None:
        if not self._way or (np.abs(q - self._way[-1]) > self._near).any():
            self._way.append(q)

    def _back(self, hold: Array, dt: float) -> Array:
        """`hold` (J,) moved towards the last remembered point, its fastest joint at the retreat speed."""
        step = self._way[-1] - hold
        far = float(np.abs(step).max())
        if far <= self._speed * dt:
            return self._way.pop()
        return np.asarray(hold + step * (self._speed * dt / far))
