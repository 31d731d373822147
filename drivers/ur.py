"""A Universal Robots arm (CB3, e-series) by RTDE, through `ur_rtde`: servoJ each tick, with the controller's own watchdog.

The controller's safety is above ours: a protective or emergency stop is said by every `read` and is cleared on the pendant alone.
A servoJ writes the register that the watchdog looks at; `kickWatchdog` is not used, as it waits for an answer.
Times, angles and speeds are RTDE's: s, rad, rad/s.
"""

import ctypes
import time

import numpy as np
from rtde_control import RTDEControlInterface
from rtde_receive import RTDEReceiveInterface

from drivers.refusal import check_command
from robot_stack.errors import DriverError
from robot_stack.robot import RobotSpec
from robot_stack.types import JointState, SafeCommand

JOINTS = 6
LOST_S = 0.1
STOPS = {
    2: "protective stop",
    4: "safeguard stop",
    5: "system emergency stop",
    6: "robot emergency stop",
    7: "emergency stop",
    8: "safety violation",
    9: "safety fault",
    10: "stopped by its safety system",
}
"""Bits of RTDE's safety_status_bits that hold the arm still."""
_HOLD_RAD_S2 = 5.0


class UrArm:
    """The six joints of the arm at `robot.ur.host`. Raises DriverError when it is not there or its program does not start."""

    def __init__(self, robot: RobotSpec) -> None:
        self.joint_names = robot.joint_names
        self._link, self._dt = robot.ur, 1.0 / robot.control_rate_hz
        if len(self.joint_names) != JOINTS or not self._link.host:
            found = f"{len(self.joint_names)} joints, host {self._link.host!r}"
            raise DriverError(
                f"robot.ur: found {found}; allowed {JOINTS} joints and the address of the controller, then start again"
            )
        self._open = False
        try:
            self._receive = RTDEReceiveInterface(self._link.host)
            self._control = RTDEControlInterface(self._link.host)
            self._control.setWatchdog(self._link.watchdog_hz)
        except RuntimeError as error:
            raise DriverError(
                f"ur {self._link.host}: {error}; is it on, in remote control, without a protective stop? Then start again"
            ) from error
        self._open, self._stamp, self._new_ns = True, -1.0, time.monotonic_ns()

    def read(self) -> JointState:
        """The newest state. Raises DriverError once the controller is silent, and while it is stopped by its own safety."""
        if not self._open:
            raise DriverError(f"ur {self._link.host}: closed; connect again")
        if (stamp := self._receive.getTimestamp()) != self._stamp:
            self._stamp, self._new_ns = stamp, time.monotonic_ns()
        silent_s = (time.monotonic_ns() - self._new_ns) / 1e9
        if not self._receive.isConnected() or silent_s > LOST_S:
            raise DriverError(f"ur {self._link.host}: silent for {silent_s:.2f} s, allowed {LOST_S} s; is the cable in?")
        if stops := stopped_by(self._receive.getSafetyStatusBits()):
            raise DriverError(f"ur {self._link.host}: {', '.join(stops)}; clear it on the pendant, then restart arm_node")
        return JointState(self._new_ns, np.array(self._receive.getActualQ()), np.array(self._receive.getActualQd()))

    def send(self, command: SafeCommand) -> None:
        """One servoJ; it feeds the watchdog. Raises DriverError when non-finite, of the wrong length, or the arm is stopped."""
        check_command(command, self.joint_names, f"ur {self._link.host}")
        self.read()
        if not self._control.servoJ(command.q.tolist(), 0.0, 0.0, self._dt, self._link.lookahead_s, self._link.gain):
            raise DriverError(f"ur {self._link.host}: refused a servoJ; its program has ended, restart arm_node")

    def close(self) -> None:
        """The arm brakes and holds; closing twice is allowed.

        One that is silent or stopped stands still already, and `ur_rtde` would wait for its answer for ever, holding the
        interpreter's lock, in its destructors too: its objects are then left alone.
        """
        if not self._open:
            return
        try:
            self.read()
        except DriverError:
            for left in (self._control, self._receive):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
        else:
            self._control.servoStop(_HOLD_RAD_S2)
            self._control.stopScript()
            self._control.disconnect()
            self._receive.disconnect()
        self._open = False


def stopped_by(bits: int) -> list[str]:
    """What of `STOPS` holds the arm still, by RTDE's safety_status_bits."""
    return [name for bit, name in STOPS.items() if bits >> bit & 1]
