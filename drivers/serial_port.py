"""A serial port as both servo SDKs want theirs, with deadlines they keep.

The SDKs' own ports wait 34 ms for an answer, more than three ticks, turn a core while they wait, measure time by the wall clock,
and may take the late answer of one exchange for that of the next. This one waits asleep, by the monotonic clock, to a deadline.
"""

import os
import select
import time
from collections.abc import Sequence

import serial

from robot_stack.errors import DriverError


class SerialPort:
    """The serial port at `path`, held by this process alone; servo, adapter and system answer within `reply_s`.

    Raises DriverError when it is not there or taken.
    `is_using`, `clearPort` to `isPacketTimeout` are what the packet handlers of `scservo_sdk` and `dynamixel_sdk` call.
    """

    def __init__(self, path: str, baud: int, reply_s: float) -> None:
        self.path, self._baud, self._reply_s = path, baud, reply_s
        self.is_using = self._patient = False
        self._limit_ns = self._packet_ns = 0
        if not path:
            raise DriverError("bus.port: found none, allowed the path of a serial port; next: robot-stack find-arms")
        try:
            self._serial = serial.Serial(path, baud, timeout=0, exclusive=True)
        except (OSError, ValueError) as error:
            raise DriverError(
                f"serial port {path} at {baud} baud: {error}; is it plugged in, and is no other process using it? "
                f"robot-stack find-arms lists the ports there are, then start again"
            ) from error

    def begin(self, limit_ns: int, patient: bool = False) -> None:
        """All that follows must end at `limit_ns`, whatever the SDK would wait; `patient`: an answer may take all that time."""
        self.is_using, self._limit_ns, self._patient = False, limit_ns, patient

    def close(self) -> None:
        """Give the port back; closing twice is allowed."""
        self._serial.close()

    def clearPort(self) -> None:
        """Whatever came late is dropped: it answers no question asked from now on."""
        self._serial.reset_input_buffer()

    def writePort(self, packet: Sequence[int]) -> int:
        """Send the bytes; how many were sent: all, or the SDK calls it a failure. Never blocks."""
        try:
            return os.write(self._serial.fileno(), bytes(packet))
        except BlockingIOError:
            return 0

    def readPort(self, length: int) -> bytes:
        """Up to `length` bytes: at once when some are there, else those that come first before the deadline."""
        wait_s = (self._packet_ns - time.monotonic_ns()) / 1e9
        ready, _, _ = select.select([self._serial], [], [], max(wait_s, 0.0))
        if not ready or length <= 0:
            return b""
        found = os.read(self._serial.fileno(), length)
        if not found:
            raise OSError(f"{self.path} is gone")
        return found

    def setPacketTimeout(self, length: int) -> None:
        """The answer, `length` bytes, is awaited from now on: for the time its bits take and `reply_s`."""
        self.setPacketTimeoutMillis(1e9 if self._patient else 1e3 * self._reply_s + 1e4 * length / self._baud)

    def setPacketTimeoutMillis(self, milliseconds: float) -> None:
        """The answer is awaited for `milliseconds` from now on."""
        self._packet_ns = min(self._limit_ns, time.monotonic_ns() + round(1e6 * milliseconds))

    def isPacketTimeout(self) -> bool:
        """The wait is over."""
        return time.monotonic_ns() >= self._packet_ns

    def getBaudRate(self) -> int:
        """Bits per second."""
        return self._baud
