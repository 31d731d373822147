"""Gamepads, keyboards and foot pedals as the Linux kernel tells of them (evdev): which keys are down, how far each axis is.

A key that was down before its device was opened counts once it is pressed anew. The kernel tells of changes only: what
is pressed on a wireless device that gets out of reach stays pressed for seconds, until the kernel gives it up. With a cable, or
the clutch on a pedal with one, it is let go at once.
"""

from collections.abc import Collection, Mapping
from typing import Any

import evdev
from evdev import ecodes

from robot_stack.errors import DriverError

REST = 0.3
"""A stick at rest is this near its middle, as a share of its way."""
_FOLDER = "/dev/input/by-id"
_REPEATED = 2


class EvdevInputs:
    """The parts called `names` (KEY_W, BTN_TR, ABS_X) of `device`. Raises DriverError when a stick is not at rest."""

    def __init__(self, device: Any, names: Collection[str]) -> None:
        self._device = device
        self._codes = {_code(name): name for name in names}
        self._values = dict.fromkeys(names, 0.0)
        self._dropped = False
        self._ranges = {code: self._range(code) for kind, code in self._codes if kind == ecodes.EV_ABS}

    def read(self) -> Mapping[str, float]:
        """How far each part is pushed: sticks -1..1, keys 0 or 1. Raises DriverError once the device is gone."""
        try:
            while events := list(self._device.read()):
                for event in events:
                    self._take(event)
        except BlockingIOError:
            return dict(self._values)
        except OSError as error:
            raise DriverError(f"{self._device.path}: {error.strerror}; plug it in again") from error
        raise DriverError(f"{self._device.path}: is gone; plug it in again")

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        self._device.close()

    def _take(self, event: Any) -> None:
        if event.type == ecodes.EV_SYN:
            if event.code == ecodes.SYN_DROPPED:
                self._dropped = True
            elif self._dropped:
                self._look()
            return
        name = self._codes.get((event.type, event.code))
        if name is None or self._dropped:
            return
        if event.type == ecodes.EV_ABS:
            self._values[name] = self._share(event.code, event.value)
        elif event.value != _REPEATED:
            self._values[name] = float(event.value)

    def _look(self) -> None:
        """The kernel's queue ran over, and the release of a key may be among the events that were lost: ask how everything is."""
        self._dropped = False
        down = set(self._device.active_keys())
        for (kind, code), name in self._codes.items():
            self._values[name] = (
                self._share(code, self._device.absinfo(code).value) if kind == ecodes.EV_ABS else float(code in down)
            )

    def _range(self, code: int) -> tuple[float, float]:
        """Middle and half of the way of an axis."""
        about = self._device.absinfo(code)
        middle, half = 0.5 * (about.min + about.max), 0.5 * (about.max - about.min)
        if not half > 0 or abs(about.value - middle) > REST * half:
            found = f"at {about.value} of {about.min}..{about.max}"
            raise DriverError(
                f"{self._device.path}: axis {ecodes.ABS[code]} rests {found}, allowed near the middle: let go of it, "
                "or name another in teleop.axes, as a trigger is no stick; then start again"
            )
        return middle, half

    def _share(self, code: int, value: int) -> float:
        middle, half = self._ranges[code]
        return float(max(-1.0, min(1.0, (value - middle) / half)))


def open_evdev(path: str, names: Collection[str]) -> EvdevInputs:
    """The device at `path`, or the first one that has all of `names`. Raises DriverError when there is none."""
    wanted = {_code(name) for name in names}
    strangers: list[str] = []
    for candidate in [path] if path else sorted(evdev.list_devices()):
        try:
            device = evdev.InputDevice(candidate)
        except OSError as error:
            strangers.append(f"{candidate}: {error.strerror}")
            continue
        if wanted <= _has(device):
            return EvdevInputs(device, names)
        strangers.append(f"{candidate} ({device.name})")
        device.close()
    raise DriverError(
        f"teleop.device: found {'; '.join(strangers) or 'none that this user may read'}, allowed a device with "
        f"{', '.join(sorted(names))}: a path of {_FOLDER}, readable by this user (group input); plug it in, start again"
    )


def _has(device: Any) -> set[tuple[int, int]]:
    able: Mapping[int, Any] = device.capabilities(absinfo=False)
    return {(kind, code) for kind in (ecodes.EV_KEY, ecodes.EV_ABS) for code in able.get(kind, ())}


def _code(name: str) -> tuple[int, int]:
    """The event type and code of `name`. Raises DriverError on one the kernel does not know."""
    kind = ecodes.EV_ABS if name.startswith("ABS_") else ecodes.EV_KEY
    code = ecodes.ecodes.get(name)
    if code is None or not name.startswith(("ABS_", "KEY_", "BTN_")):
        raise DriverError(f"teleop: found {name!r}, allowed names of <linux/input-event-codes.h>: KEY_W, BTN_TR, ABS_X, ...")
    return kind, int(code)
