"""Time is ``int`` nanoseconds of CLOCK_MONOTONIC; a virtual clock for lock-step runs has the same shape."""

import time
from dataclasses import dataclass
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Where `now` comes from."""

    def now_ns(self) -> int:
        """Nanoseconds; never runs backwards."""
        ...


class MonotonicClock:
    """CLOCK_MONOTONIC of this computer: not changed by NTP or by setting the date."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start, the same for every process of one boot."""
        return time.monotonic_ns()


@dataclass(slots=True)
class VirtualClock:
    """A clock that only moves when told to: lock-step runs and tests."""

    t_ns: int = 0

    def now_ns(self) -> int:
        """The time it was last advanced to, nanoseconds."""
        return self.t_ns

    def advance(self, dt_ns: int) -> None:
        """Move forward by `dt_ns` >= 0 nanoseconds."""
        if dt_ns < 0:
            raise ValueError(f"dt_ns: found {dt_ns}, allowed >= 0: time does not run backwards")
        self.t_ns += dt_ns


def seconds(t_ns: int) -> float:
    """Nanoseconds as seconds."""
    return t_ns / NS_PER_S


def nanoseconds(t_s: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(t_s * NS_PER_S)
