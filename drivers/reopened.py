"""A device that is opened again when it was lost, with back-off, by whoever asks it next."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from drivers.camera_capture import Retry
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError

T_co = TypeVar("T_co", covariant=True)

LONGEST = 16
"""The longest wait, in first waits."""


class Device(Protocol[T_co]):
    """An open device. Its construction raises DriverError when it is not there."""

    def read(self) -> T_co:
        """Its newest state. Never blocks. Raises DriverError once the device is gone."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Reopened(Generic[T_co]):
    """The device that `connect` opens. Lost, it is tried again after `retry_s`, then twice as long each time.

    Raises DriverError when it is not there at first.
    """

    def __init__(self, connect: Callable[[], Device[T_co]], retry_s: float) -> None:
        self._connect = connect
        self._device: Device[T_co] | None = connect()
        self._retry = Retry(nanoseconds(retry_s), LONGEST * nanoseconds(retry_s))
        self._lost = ""

    def read(self, now_ns: int) -> T_co:
        """The device's newest state; `now_ns` decides whether a lost one is tried. Raises DriverError while it is lost."""
        if self._device is None and now_ns < self._retry.due_ns:
            raise DriverError(self._lost)
        try:
            self._device = self._device or self._connect()
            state = self._device.read()
        except DriverError as error:
            self.close()
            self._retry = self._retry.failed(now_ns)
            self._lost = f"teleoperator lost: {error}"
            raise DriverError(self._lost) from error
        self._retry = self._retry.succeeded()
        return state

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        device, self._device = self._device, None
        if device is not None:
            device.close()
