"""Network cameras: RTSP, MJPEG over HTTP, and what else OpenCV's FFmpeg reads.

A stream has no clock in common with the robot, so a picture is stamped when it arrives, less the `delay_s` of the robot's file.
That is true only of a picture that was waited for: one that lay in a buffer meanwhile (while the stream was opened, while this
process was stopped) arrived at a time nobody knows, and is passed over.
"""

import time

import cv2

from drivers.camera_capture import Picture
from drivers.opencv_camera import open_capture, retrieve
from robot_stack.camera_device import CameraDevice
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError

OPEN_S = 3.0
WAITED_NS = 1_000_000
"""A picture that took longer to come than to decode, by at least this, was waited for."""


class StreamSource:
    """The stream at `device.at`. Raises DriverError when nobody serves it within `OPEN_S`."""

    def __init__(self, device: CameraDevice) -> None:
        self._url, self._silent_s = device.at, device.silent_s
        self._delay_ns = nanoseconds(device.delay_s)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_S * 1e3), cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(device.silent_s * 1e3)]
        one_thread = [cv2.CAP_PROP_N_THREADS, 1]  # more would hold pictures back
        self._capture = open_capture(self._url, cv2.CAP_FFMPEG, limits + one_thread)

    def next(self) -> Picture | None:
        """The next picture, or None for one that was waiting already. Raises DriverError on the end, a stall, a lost connection."""
        begun_ns, worked_ns = time.monotonic_ns(), time.thread_time_ns()
        if not self._capture.grab():
            raise DriverError(f"{self._url}: the stream ended or stood still for {self._silent_s:g} s; is the camera running?")
        now_ns = time.monotonic_ns()
        waited_ns = (now_ns - begun_ns) - (time.thread_time_ns() - worked_ns)
        return (now_ns - self._delay_ns, retrieve(self._capture, self._url)) if waited_ns >= WAITED_NS else None

    def close(self) -> None:
        """Hang up."""
        self._capture.release()
