"""How a robot's joints are reached: servos on a bus, controllers of ros2_control, a UR's RTDE. Settings of `drivers/`, in SI."""

from dataclasses import dataclass
from typing import Literal

from robot_stack.errors import ConfigError


@dataclass(frozen=True)
class Servo:
    """The servo of one joint: its `id` on the bus and how its angle becomes the joint's.

    ``q = q_middle + sign * (angle - angle at the middle of the calibrated range) / gear``, `gear`: turns of the servo per turn of
    the joint. Calibration begins with `sign` and may find the other one. `torque_per_ampere` N m/A at the joint; 0: not known.
    """

    id: int = -1
    sign: Literal[-1, 1] = 1
    gear: float = 1.0
    q_middle: float = 0.0
    torque_per_ampere: float = 0.0

    def __post_init__(self) -> None:
        if not self.gear > 0.0:
            raise ConfigError(f"servo.gear: found {self.gear}, allowed above 0 (the direction is servo.sign)")


@dataclass(frozen=True)
class ServoBus:
    """A serial bus of servos at `port` (a path of /dev/serial/by-id stays the same after a reboot), `baud` bit/s.

    `calibration`: its file ("": <user's config folder>/robot_stack/calibration/<name of the robot>.json).
    `at_close`: the servos hold where they are, or go limp. Commands missing for `silent_s`: the servos hold where they are.
    Servo and adapter answer within `reply_s` (with an FTDI adapter, set its latency timer to 1 ms). A servo without an answer for
    `lost_s` is lost; `watchdog_s`: how long it waits for the bus, where it has a watchdog.
    `hot` degC: warmer than this is a fault, while the servo can still hold. `p_gain` 0: as stored in the servos.
    """

    port: str = ""
    baud: int = 1_000_000
    calibration: str = ""
    at_close: Literal["hold", "limp"] = "hold"
    reply_s: float = 0.004
    silent_s: float = 0.2
    lost_s: float = 0.1
    watchdog_s: float = 0.3
    hot: float = 65.0
    p_gain: int = 0

    def __post_init__(self) -> None:
        for name in ("reply_s", "silent_s", "lost_s", "watchdog_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"bus.{name}: found {getattr(self, name)}, allowed above 0 s")


@dataclass(frozen=True)
class Controller:
    """A controller of ros2_control: commands go to ``/<name>/joint_trajectory`` or ``/<name>/commands``, by its `kind`.

    Joint states come from `states`, where `joint_state_broadcaster` publishes; older than `lost_s`: the controllers are gone.
    A command is to be reached `reach_s` after it was sent. `wait_s`: how long to wait for both at the start.
    """

    name: str = "joint_trajectory_controller"
    kind: Literal["joint_trajectory", "forward_command"] = "joint_trajectory"
    states: str = "/joint_states"
    reach_s: float = 0.02
    lost_s: float = 0.2
    wait_s: float = 5.0


@dataclass(frozen=True)
class UrLink:
    """A Universal Robots arm at `host`, by RTDE. `servoJ` looks `lookahead_s` (0.03..0.2) ahead, with `gain` (100..2000).

    The controller stops the arm by itself when it hears nothing for ``1 / watchdog_hz``.
    """

    host: str = ""
    lookahead_s: float = 0.05
    gain: float = 300.0
    watchdog_hz: float = 10.0
