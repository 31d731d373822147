"""Network cameras by RTSP, and whatever else OpenCV's FFmpeg reads that has times of its own.

Such a stream counts time by the camera's clock, which has no zero in common with ours: their difference is taken from the picture
that came fastest (`StreamClock`), so that one that lay in a buffer is known to be old. A delay that is the same for all of them,
the camera's own, nobody sees here; it is `delay_s` in the robot's file.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2

from drivers.camera_capture import Picture
from drivers.mjpeg_camera import shown
from drivers.opencv_camera import open_capture, retrieve
from robot_stack.camera_device import CameraDevice
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError

OPEN_S = 3.0
WAITED_NS = 1_000_000
"""A picture that took longer to come than to decode, by at least this, was waited for: nothing older is in the buffer."""
_DRIFT = 2e-4
_VARIABLE, _OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;prefer_tcp|fflags;nobuffer|fpsprobesize;0"
"""FFmpeg's: hand on what was read to look at the stream, and look at no more of it than is needed. The first is OpenCV's own."""


@dataclass(slots=True)
class StreamClock:
    """Camera time to our time: ``taken = pts + offset``, the offset being the least ``arrival - pts`` there was.

    It may grow by 0.2 ms a second, more than two crystals drift apart.
    """

    offset_ns: int | None = None
    arrived_ns: int = 0

    def taken_ns(self, pts_ns: int, arrived_ns: int) -> int:
        """When the picture of camera time `pts_ns` left the camera, if the fastest one took no time."""
        found_ns = arrived_ns - pts_ns
        if self.offset_ns is None:
            self.offset_ns = found_ns
        grown_ns = self.offset_ns + round(_DRIFT * (arrived_ns - self.arrived_ns))
        self.offset_ns, self.arrived_ns = min(found_ns, grown_ns), arrived_ns
        return pts_ns + self.offset_ns


class RtspSource:
    """The stream at `device.at`. Raises DriverError when nobody serves it within `OPEN_S`."""

    def __init__(self, device: CameraDevice) -> None:
        self._url, self._silent_s, self._delay_ns = shown(device.at), device.silent_s, nanoseconds(device.delay_s)
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(OPEN_S * 1e3),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(device.silent_s * 1e3),
        ]
        one_thread = [cv2.CAP_PROP_N_THREADS, 1]  # more would hold pictures back
        with _options():
            self._capture = open_capture(device.at, cv2.CAP_FFMPEG, limits + one_thread, self._url)
        self._clock, self._caught_up = StreamClock(), False

    def next(self) -> Picture | None:
        """The next picture, None for one from before it was opened. Raises DriverError at the end, a stall, when all are old."""
        begun_ns, worked_ns = time.monotonic_ns(), time.thread_time_ns()
        if not self._capture.grab():
            raise DriverError(f"{self._url}: the stream ended or stood still for {self._silent_s:g} s; is the camera running?")
        now_ns = time.monotonic_ns()
        self._caught_up |= (now_ns - begun_ns) - (time.thread_time_ns() - worked_ns) >= WAITED_NS
        t_ns = self._clock.taken_ns(round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6), now_ns)
        if (age_s := (now_ns - t_ns) / 1e9) > self._silent_s:
            raise DriverError(
                f"{self._url}: its pictures are {age_s:.1f} s old; this computer does not keep up, ask for smaller ones"
            )
        return (t_ns - self._delay_ns, retrieve(self._capture, self._url)) if self._caught_up else None

    def close(self) -> None:
        """Hang up."""
        self._capture.release()


@contextmanager
def _options() -> Iterator[None]:
    """`_OPTIONS` where OpenCV looks for them, unless the user has put others there. Only meanwhile: files would obey, too."""
    before = os.environ.get(_VARIABLE)
    os.environ.setdefault(_VARIABLE, _OPTIONS)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
