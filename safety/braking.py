"""The safe stop: slow down along the way the arm is going, as hard as its weakest joint can, within the limits of every joint.

Scaling the whole velocity keeps the arm on its path (of a chunk that was fine a moment ago) and takes exactly as long as letting
each joint brake on its own, because the joint that needs longest sets the pace either way.
"""

import numpy as np

from robot_stack.types import Array
from safety.limits import Box


def brake(v: Array, box: Box, change: Array) -> Array:
    """The next velocity (J,) from `v` (J,) to rest: `change` (J,) is the most a tick may change it, `box` what limits allow."""
    ticks = float((np.abs(v) / change).max())
    slowed = v * (1.0 - 1.0 / ticks) if ticks > 1.0 else np.zeros_like(v)
    return np.minimum(np.maximum(slowed, box.lower), box.upper)


def stop_distance(v: Array, change: Array, dt: float) -> Array:
    """How far each joint still moves (J,) when `brake` is applied from `v` (J,) on, position limits aside."""
    ticks = float((np.abs(v) / change).max())
    n = np.floor(ticks)
    return v * dt * (n - n * (n + 1.0) / (2.0 * ticks)) if ticks > 1.0 else np.zeros_like(v)
