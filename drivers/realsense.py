"""The colour pictures of an Intel RealSense camera, through `pyrealsense2`. Depth is not used."""

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyrealsense2 as rs

from drivers.camera_capture import Picture, taken_ns
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError
from robot_stack.robot import CameraSpec

_WAKE_MS = 100
_EXPOSURE_UNIT_S = 1e-4


class RealsenseSource:
    """The camera with the serial number `device.at` ("": the first), in the size and rate of the robot's file.

    The library stamps a picture when it was taken, by the system's clock (its global time) where the camera can do that; with
    another clock, or none, the stamp is its arrival less `delay_s`. Raises DriverError when it is not there or has no such mode.
    `devices`: where to look for it; None: what is plugged in.
    """

    def __init__(self, spec: CameraSpec, devices: Iterable[Any] | None = None) -> None:
        self._name = f"RealSense {spec.device.at or '(the first)'}"
        self._delay_ns = nanoseconds(spec.device.delay_s)
        plugged_in = rs.context().query_devices() if devices is None else devices
        found = [device for device in plugged_in if spec.device.at in ("", device.get_info(rs.camera_info.serial_number))]
        if not found:
            raise DriverError(f"{self._name}: not there; is it plugged in? start with: robot-stack find-cameras")
        self._sensor, mode = self._color(found[0], spec)
        self._newest = rs.frame_queue(1)
        try:
            self._sensor.open(mode)
            self._expose(spec.device.exposure_s)
            self._sensor.start(self._newest)
        except RuntimeError as error:
            raise DriverError(f"{self._name}: {error}; does another program use it?") from error

    def next(self) -> Picture | None:
        """The newest picture, or None after 0.1 s without one; the library says nothing of a camera that was unplugged."""
        arrived, frame = self._newest.try_wait_for_frame(_WAKE_MS)
        if not arrived:
            return None
        now_ns = time.monotonic_ns()
        t_ns = taken_ns(round(frame.get_timestamp() * 1e6), now_ns, time.time_ns())
        rgb = np.array(frame.as_video_frame().get_data(), dtype=np.uint8)  # a copy: the library uses its buffer again
        return (t_ns if t_ns != now_ns else now_ns - self._delay_ns), rgb

    def close(self) -> None:
        """Release the camera."""
        try:
            self._sensor.stop()
            self._sensor.close()
        except RuntimeError:  # it is gone
            pass

    def _color(self, device: Any, spec: CameraSpec) -> tuple[Any, Any]:
        """The sensor that has colour pictures of the wanted size and rate, and that mode of it. Raises DriverError."""
        had = set()
        for sensor in device.query_sensors():
            for mode in sensor.get_stream_profiles():
                if mode.stream_type() == rs.stream.color and mode.format() == rs.format.rgb8:
                    size = mode.as_video_stream_profile()
                    had.add((size.width(), size.height(), mode.fps()))
                    if (size.width(), size.height(), mode.fps()) == (spec.width, spec.height, round(spec.rate_hz)):
                        return sensor, mode
        modes = ", ".join(f"{width}x{height} at {rate}" for width, height, rate in sorted(had)) or "none"
        wanted = f"{spec.width}x{spec.height} at {spec.rate_hz:g} Hz"
        raise DriverError(f"{self._name}: found no colour pictures of {wanted}, allowed {modes}; start with one of them")

    def _expose(self, exposure_s: float) -> None:
        """A fixed exposure; 0: the camera's own automatic, on."""
        automatic = rs.option.enable_auto_exposure
        if self._sensor.supports(automatic):
            self._sensor.set_option(automatic, 0.0 if exposure_s else 1.0)
        if exposure_s:
            self._sensor.set_option(rs.option.exposure, exposure_s / _EXPOSURE_UNIT_S)


def serial_numbers() -> list[str]:
    """The RealSense cameras that are plugged in."""
    return sorted(device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices())
