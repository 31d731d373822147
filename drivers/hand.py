"""What a hand does to a device: its axes, keys and buttons, by name, become a twist, a gripper's motion and a clutch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_stack.config.teleop import TeleopSettings
from robot_stack.errors import ConfigError
from robot_stack.types import Array

AXES = ("x", "y", "z", "roll", "pitch", "yaw", "grip")
"""What `teleop.axes` move, in this order; the gripper opens with positive values."""
GIVING_NS = 300_000_000
"""For so long giving back is said: once may be lost on an operator's request in the same tick."""

Inputs = Mapping[str, float]
"""How far each axis, -1..1, and each key or button, 0 or 1, is pushed."""


@dataclass(frozen=True, slots=True)
class Hand:
    """`clutch` and `confirm` are pressed; `twist` (6,) and `grip` in shares of the greatest speed, -1..1."""

    clutch: bool
    confirm: bool
    twist: Array
    grip: float


class Controls:
    """Reads `teleop.axes`, `clutch` and `confirm`. Without a clutch the hand is always on. Raises ConfigError on what is none."""

    def __init__(self, settings: TeleopSettings) -> None:
        if settings.axes and len(settings.axes) != len(AXES):
            raise ConfigError(f"teleop.axes: found {len(settings.axes)}, allowed one for each of {', '.join(AXES)}")
        self._clutch, self._confirm, self._dead = settings.clutch, settings.confirm, settings.deadband
        self._axes = [[_term(word) for word in axis.split()] for axis in settings.axes]
        self._direction: dict[str, float] = {}
        self._pressed: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The axes, keys and buttons that are looked at."""
        named = {name for axis in self._axes for _, name in axis}
        return frozenset(named | {name for name in (self._clutch, self._confirm) if name})

    def hand(self, inputs: Inputs) -> Hand:
        """What `inputs` mean; one that is missing is not pushed."""
        clutch = not self._clutch or inputs.get(self._clutch, 0.0) > 0.5
        self._turn(inputs, clutch)
        pushed = np.array([self._pushed(axis, inputs) for axis in self._axes] or [0.0] * len(AXES))
        return Hand(clutch, inputs.get(self._confirm, 0.0) > 0.5, pushed[:6], float(pushed[6]))

    def _pushed(self, axis: list[tuple[str, str]], inputs: Inputs) -> float:
        total = 0.0
        for sign, name in axis:
            value = self._direction.get(name, 0.0) if sign == "~" else inputs.get(name, 0.0)
            total += -value if sign == "-" else value
        beyond = max(0.0, abs(total) - self._dead) / (1.0 - self._dead)
        return float(np.copysign(min(1.0, beyond), total))

    def _turn(self, inputs: Inputs, clutch: bool) -> None:
        """Each press under the clutch turns a "~" round."""
        for name in {name for axis in self._axes for sign, name in axis if sign == "~"}:
            pressed = inputs.get(name, 0.0) > 0.5
            if pressed and clutch and name not in self._pressed:
                self._direction[name] = -self._direction.get(name, 1.0)
            self._pressed = self._pressed | {name} if pressed else self._pressed - {name}


class Clutch:
    """When the human has the arm: while the clutch is held, once it was seen open. What a lost device held counts for nothing."""

    def __init__(self, settings: TeleopSettings) -> None:
        self._always = not settings.clutch
        self._on_release = settings.release == "policy"
        self._seen_open = self._always
        self._had = self._confirming = False
        self._given_ns: int | None = None
        self.held = False

    @property
    def given(self) -> bool:
        """The human has let go for good, by releasing or by confirming, as `teleop.release` says."""
        return self._given_ns is not None

    def giving(self, now_ns: int) -> bool:
        """It was given back just now."""
        return self._given_ns is not None and now_ns - self._given_ns < GIVING_NS

    def feel(self, hand: Hand, now_ns: int) -> bool:
        """True while the human has the arm."""
        released = self.held and not hand.clutch
        confirmed = hand.confirm and not self._confirming
        self._seen_open |= not hand.clutch
        self._confirming = hand.confirm
        self.held = self._seen_open and hand.clutch
        if self.held:
            self._had, self._given_ns = True, None
        elif self._had and (confirmed or (released and self._on_release)):
            self._given_ns = now_ns
        return self.held

    def lost(self) -> None:
        """The device is gone: nothing is held, nothing given back, and what it had is forgotten."""
        self._seen_open = self._always
        self.held = self._had = self._confirming = False
        self._given_ns = None


def _term(word: str) -> tuple[str, str]:
    """The sign, "", "-" or "~", and the name in `word`."""
    sign = word[0] if word[0] in "-~" else ""
    if not (name := word.removeprefix(sign)):
        raise ConfigError(f"teleop.axes: found {word!r}, allowed the name of an axis, key or button, with - or ~ before it")
    return sign, name
