"""The colour pictures of an Intel RealSense camera, through `pyrealsense2`. Depth is not used."""

import time

import numpy as np
import pyrealsense2 as rs

from drivers.camera_capture import Picture, taken_ns
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError
from robot_stack.robot import CameraSpec

_WAKE_MS = 100


class RealsenseSource:
    """The camera with the serial number `device.at` ("": the first), in the size and rate of the robot's file.

    The library stamps a picture when it was taken, by the system's clock (its global time) where the camera can do that; with
    another clock, or none, the stamp is its arrival less `delay_s`. Raises DriverError when it is not there or has no such mode.
    """

    def __init__(self, spec: CameraSpec, context: rs.context | None = None) -> None:
        device = spec.device
        self._name = f"RealSense {device.at or '(first)'}"
        self._delay_ns = nanoseconds(device.delay_s)
        config = rs.config()
        if device.at:
            config.enable_device(device.at)
        config.enable_stream(rs.stream.color, spec.width, spec.height, rs.format.rgb8, round(spec.rate_hz))
        self._pipeline = rs.pipeline(context) if context else rs.pipeline()
        try:
            profile = self._pipeline.start(config)
        except RuntimeError as error:
            wanted = f"{spec.width}x{spec.height} at {spec.rate_hz:g} Hz"
            raise DriverError(f"{self._name}: {error}; is it plugged in, and started with a size it has? ({wanted})") from error
        sensor = profile.get_device().first_color_sensor()
        if device.exposure_s:
            sensor.set_option(rs.option.enable_auto_exposure, 0)
            sensor.set_option(rs.option.exposure, device.exposure_s * 1e4)

    def next(self) -> Picture | None:
        """The next picture, or None after 0.1 s without one; the library says nothing of a camera that was unplugged."""
        arrived, frames = self._pipeline.try_wait_for_frames(_WAKE_MS)
        color = frames.get_color_frame() if arrived else None
        if not color:
            return None
        now_ns = time.monotonic_ns()
        t_ns = taken_ns(round(color.get_timestamp() * 1e6), now_ns, time.time_ns())
        rgb = np.array(color.get_data(), dtype=np.uint8)  # a copy: the library uses its buffer again
        return (t_ns if t_ns != now_ns else now_ns - self._delay_ns), rgb

    def close(self) -> None:
        """Release the camera."""
        try:
            self._pipeline.stop()
        except RuntimeError:  # it is gone, or was never started
            pass


def serial_numbers() -> list[str]:
    """The RealSense cameras that are plugged in."""
    return sorted(device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices())
