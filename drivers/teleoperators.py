"""The devices that ship: which one `teleop` means. Imports inside the branches: only its user needs a device's package."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from drivers.clutched import ClutchedTeleoperator, Looked, Mover
from drivers.hand import Controls
from drivers.reopened import Reopened
from robot_stack.config.robot_file import load_robot
from robot_stack.config.teleop import KINDS, TeleopSettings
from robot_stack.errors import ConfigError, DriverError
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, JointState

Joints = Callable[[], JointState | None]
Commanded = Callable[[], Array | None]


def open_teleoperator(
    robot: RobotSpec, settings: TeleopSettings, joints: Joints, commanded: Commanded, returns: bool = False
) -> ClutchedTeleoperator:
    """The device that `settings` name, open; it moves `robot`. See `ClutchedTeleoperator` for the rest.

    Raises DriverError when it or its package is not there, ConfigError on settings that do not fit.
    """
    if settings.kind == "leader" and not settings.device:
        settings = replace(settings, clutch="", confirm="")
    try:
        mover = _mover(robot, settings)
        try:
            inputs = _inputs(settings)
        except BaseException:
            mover.close()
            raise
    except ModuleNotFoundError as error:
        extra = "servos" if settings.kind == "leader" and error.name in ("serial", "scservo_sdk", "dynamixel_sdk") else "teleop"
        step = "source the setup file of a ROS 2" if error.name == "rclpy" else f"pip install 'robot_stack[{extra}]'"
        raise DriverError(f"teleop {settings.kind}: {error.name} is not installed; next: {step}, then start again") from error
    return ClutchedTeleoperator(robot, settings, inputs, mover, joints, commanded, returns)


def _mover(robot: RobotSpec, settings: TeleopSettings) -> Mover:
    if settings.kind != "leader":
        from drivers.cartesian import CartesianMover

        return CartesianMover(robot, settings)
    from drivers.calibration import load
    from drivers.leader_arm import LeaderMover, open_leader

    spec = load_robot(settings.leader)
    calibration = load(spec)
    leader: Reopened[JointState] = Reopened(lambda: open_leader(spec, calibration), settings.retry_s)
    return LeaderMover(robot, settings, leader, spec, calibration)


def _inputs(settings: TeleopSettings) -> Looked | None:
    """What is looked at; None: a leader arm alone."""
    names = Controls(settings).names
    match settings.kind:
        case "leader" if not settings.device:
            return None
        case "leader" | "gamepad" | "keyboard":
            from drivers.evdev_inputs import open_evdev

            return Reopened(partial(open_evdev, settings.device, names), settings.retry_s)
        case "spacemouse":
            from drivers.spacemouse import SpaceMouse

            return Reopened(partial(SpaceMouse, settings.device, settings.silent_s), settings.retry_s)
        case "joy":
            from drivers.joy import JoyInputs

            return JoyInputs(settings.device, settings.silent_s)
    raise ConfigError(f"teleop.kind: found {settings.kind!r}, allowed {', '.join(KINDS[2:])}")
