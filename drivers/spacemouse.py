"""A 3Dconnexion SpaceMouse by its HID reports, read from /dev/hidraw*: no daemon, no library, one report a read.

Report 1: x, y, z (int16, low first, about -350..350) and in newer models rx, ry, rz behind them; report 2: rx, ry, rz of older
ones; report 3: a bit for each button. x points right, y towards the user, z down. It speaks while the cap is pushed and once
more when it is back: a cap that has said nothing for `silent_s` is at rest.
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError

FULL = 350.0
TRANSLATION, ROTATION = ("x", "y", "z"), ("rx", "ry", "rz")
BUTTONS = 32
LOGITECH = range(0xC603, 0xC62C)
"""Products of 3Dconnexion under the vendor of its former owner."""
_LONGEST = 64


class SpaceMouse:
    """The SpaceMouse at `path` ("": the first there is). Raises DriverError when it is not there, or may not be read."""

    def __init__(self, path: str, silent_s: float) -> None:
        self.path = path or _first()
        self._silent_ns = nanoseconds(silent_s)
        self._axes = dict.fromkeys((*TRANSLATION, *ROTATION), 0.0)
        self._buttons = 0
        self._heard_ns = 0
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DriverError(
                f"{self.path}: {error.strerror}; plug it in, allow this user to read it "
                '(udev: KERNEL=="hidraw*", ATTRS{idVendor}=="256f", TAG+="uaccess"), start again'
            ) from error

    def read(self) -> Mapping[str, float]:
        """x y z rx ry rz, -1..1, and button0.., 0 or 1. Raises DriverError once the device is gone."""
        try:
            while report := os.read(self._file, _LONGEST):
                self._take(report)
        except BlockingIOError:
            return self._now()
        except OSError as error:
            raise DriverError(f"{self.path}: {error.strerror}; plug it in again") from error
        raise DriverError(f"{self.path}: is gone; plug it in again")

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _take(self, report: bytes) -> None:
        number, body = report[0], report[1:]
        names = {1: TRANSLATION + ROTATION, 2: ROTATION}.get(number, ())
        numbers = struct.unpack(f"<{len(body) // 2}h", body[: len(body) // 2 * 2]) if names else ()
        for name, value in zip(names, numbers, strict=False):
            self._axes[name] = max(-1.0, min(1.0, value / FULL))
            self._heard_ns = time.monotonic_ns()
        if number == 3:
            self._buttons = int.from_bytes(body[: BUTTONS // 8], "little")

    def _now(self) -> Mapping[str, float]:
        speaks = time.monotonic_ns() - self._heard_ns <= self._silent_ns
        axes = self._axes if speaks else dict.fromkeys(self._axes, 0.0)
        return axes | {f"button{i}": float(self._buttons >> i & 1) for i in range(BUTTONS)}


def space_mice() -> list[str]:
    """The paths of those that are plugged in."""
    return [f"/dev/{file.parents[1].name}" for file in sorted(Path("/sys/class/hidraw").glob("*/device/uevent")) if _is_one(file)]


def _is_one(uevent: Path) -> bool:
    """HID_ID=<bus>:<vendor>:<product>, hexadecimal."""
    try:
        lines = dict(line.split("=", 1) for line in uevent.read_text().splitlines() if "=" in line)
        _, vendor, product = (int(part, 16) for part in lines["HID_ID"].split(":"))
    except (OSError, KeyError, ValueError):
        return False
    return vendor == 0x256F or (vendor == 0x046D and product in LOGITECH)


def _first() -> str:
    found = space_mice()
    if not found:
        raise DriverError("teleop.device: found no SpaceMouse, allowed the path of one (/dev/hidraw0); plug it in, start again")
    return found[0]
