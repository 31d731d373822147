"""A Camera from anything that gives one picture after the other: a thread keeps the newest and opens a lost device again."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError
from robot_stack.types import CameraFrame, Image

Picture = tuple[int, Image]
"""When it was taken (ns, CLOCK_MONOTONIC) and its pixels, rgb uint8 (H, W, 3), that nobody writes any more."""

START_S = 5.0
"""How long a device may take to its first picture."""
_OLDEST_NS, _AHEAD_NS = 10_000_000_000, 5_000_000


class Source(Protocol):
    """An open device, used by one thread."""

    def next(self) -> Picture | None:
        """The next picture, or None when none came within a short wait. Raises DriverError once the device is gone."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass(frozen=True, slots=True)
class Retry:
    """When a lost device is tried again: `first_ns` after the first failure, then twice as long each time, at most `most_ns`."""

    first_ns: int
    most_ns: int
    failures: int = 0
    due_ns: int = 0

    def failed(self, now_ns: int) -> "Retry":
        """The schedule after one more failure, at `now_ns`."""
        wait_ns = min(self.most_ns, self.first_ns << min(self.failures, 32))
        return replace(self, failures=self.failures + 1, due_ns=now_ns + wait_ns)

    def succeeded(self) -> "Retry":
        """The schedule once pictures come: the next failure is again the first."""
        return replace(self, failures=0, due_ns=0)


def taken_ns(stamp_ns: int, now_ns: int, wall_ns: int) -> int:
    """When a picture with the stamp `stamp_ns` was taken, on the monotonic clock that shows `now_ns` where it arrives.

    The stamp is of that clock, or of the system's, which shows `wall_ns`: ``stamp - (wall_ns - now_ns)``, an offset measured
    anew with each picture, so that setting the clock is harmless. A stamp that makes the picture neither way 0 to 10 s old
    (5 ms in the future is a clock's error) is no stamp: then the picture was taken when it arrived.
    """
    for clock_ns in (now_ns, wall_ns):
        if -_AHEAD_NS <= (age_ns := clock_ns - stamp_ns) <= _OLDEST_NS:
            return now_ns - max(0, age_ns)
    return now_ns


class CapturedCamera:
    """The Camera `name` over the Source that `connect` opens. `retry` None: a lost device stays lost.

    Raises DriverError unless a first picture comes within `START_S`.
    """

    def __init__(self, name: str, connect: Callable[[], Source], silent_s: float, retry: Retry | None) -> None:
        self.name = name
        self._connect = connect
        self._silent_ns = nanoseconds(silent_s)
        self._retry = retry
        self._newest: CameraFrame | None = None
        self._returned: CameraFrame | None = None
        self._lost = ""
        self._fault: BaseException | None = None
        self._closing = threading.Event()
        source = self._started()
        self._thread = threading.Thread(target=self._run, args=(source,), name=f"camera {name}", daemon=True)
        self._thread.start()

    def read(self) -> CameraFrame | None:
        """The newest frame not returned before, or None. Never blocks. Raises DriverError while the device is lost."""
        if self._closing.is_set():
            raise DriverError(f"camera {self.name}: closed; open it again")
        if self._fault is not None:
            raise self._fault
        frame = self._newest
        if frame is not None and frame is not self._returned:
            self._returned = frame
            return frame
        if lost := self._lost:
            raise DriverError(lost)
        return None

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        self._closing.set()
        self._thread.join(timeout=2.0)

    def _started(self) -> Source:
        source = self._opened()
        until_ns = time.monotonic_ns() + nanoseconds(START_S)
        try:
            while not self._took(source):
                if time.monotonic_ns() > until_ns:
                    raise DriverError(f"no picture within {START_S} s; does it run, and does nobody else use it?")
        except DriverError as error:
            source.close()
            raise self._named(error) from error
        return source

    def _run(self, source: Source | None) -> None:
        try:
            while source is not None:
                lost = self._follow(source)
                source.close()
                source = None if lost is None else self._again(lost)
        except BaseException as error:  # whoever reads must learn of it
            self._fault = error

    def _follow(self, source: Source) -> DriverError | None:
        """Take pictures until the device is lost (why) or this camera is closed (None)."""
        seen_ns = time.monotonic_ns()
        try:
            while not self._closing.is_set():
                if self._took(source):
                    seen_ns = time.monotonic_ns()
                elif time.monotonic_ns() - seen_ns > self._silent_ns:
                    raise DriverError(f"no picture for {self._silent_ns / 1e9:g} s")
        except DriverError as error:
            return self._named(error)
        return None

    def _took(self, source: Source) -> bool:
        """True when there was a next picture; stamps never run backwards, an earlier one is passed over."""
        picture = source.next()
        if picture is None:
            return False
        if self._newest is None or picture[0] > self._newest.t_ns:
            self._newest = CameraFrame(self.name, *picture)
        self._lost = ""
        self._retry = self._retry and self._retry.succeeded()
        return True

    def _again(self, lost: DriverError) -> Source | None:
        """The device, opened again; None when this camera is closed, or a lost device stays lost."""
        while True:
            self._lost = str(lost)
            if self._retry is None:
                return None
            self._retry = self._retry.failed(time.monotonic_ns())
            if self._closing.wait((self._retry.due_ns - time.monotonic_ns()) / 1e9):
                return None
            try:
                return self._opened()
            except DriverError as error:
                lost = error

    def _opened(self) -> Source:
        try:
            return self._connect()
        except DriverError as error:
            raise self._named(error) from error

    def _named(self, error: DriverError) -> DriverError:
        return DriverError(f"camera {self.name}: {error}")
