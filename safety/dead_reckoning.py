"""A fallback that shares no sensor with the camera: where the wheels say the vehicle is, and braking on the way to the line.

From a fix (a surveyed hold line, a beacon), wheel speed v and wheel angle phi of a bicycle of length L give the pose

    px' = v sin th,   th' = (v / L) tan phi

whose error grows with the way. The fallback steers by that pose and brakes. Braking is what ends the run: where the steering
depends on the pose alone, d(px, th)/ds along the path does not contain v, so driving slower only takes longer to the same end.

Rows are vehicles: n = 1 on a robot, many in a study. Pure functions of their arguments.
"""

from dataclasses import dataclass

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.types import Array


@dataclass(frozen=True, slots=True)
class DeadReckoning:
    """Wheel odometry of a vehicle of `wheelbase` L m."""

    wheelbase: float

    def __post_init__(self) -> None:
        if not self.wheelbase > 0:
            raise ContractError(f"DeadReckoning.wheelbase: found {self.wheelbase}, allowed more than 0 m")

    def advance(self, pose: Array, v: Array, phi: Array, dt: float) -> Array:
        """Pose (n, 2), m and rad, `dt` s after `pose`, with measured wheel speed `v` (n,) m/s and wheel angle `phi` (n,) rad."""
        step = np.stack([v * np.sin(pose[:, 1]), v / self.wheelbase * np.tan(phi)], axis=1)
        return np.asarray(pose + dt * step)


@dataclass(frozen=True, slots=True)
class BrakingFallback:
    """Steer phi = -`gain_px` px - `gain_th` th by the dead-reckoned pose and brake with `deceleration` m/s^2 until standing."""

    gain_px: float
    gain_th: float
    deceleration: float

    def __post_init__(self) -> None:
        if not self.deceleration > 0:
            raise ContractError(
                f"BrakingFallback.deceleration: found {self.deceleration}, allowed more than 0 m/s^2: slowing saves nothing"
            )

    def command(self, pose: Array) -> tuple[Array, Array]:
        """Wheel angle (n,) rad and acceleration (n,) m/s^2 at dead-reckoned `pose` (n, 2)."""
        phi = -self.gain_px * pose[:, 0] - self.gain_th * pose[:, 1]
        return phi, np.full(len(pose), -self.deceleration)
