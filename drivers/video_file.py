"""A video file in the place of a camera, played as fast as it was taken, or `speed` times that."""

import time
from pathlib import Path

import cv2

from drivers.camera_capture import Picture
from drivers.opencv_camera import open_capture, retrieve
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import DriverError


class VideoSource:
    """The file `device.at`; a picture's stamp is when it was due. Raises DriverError when it is no video."""

    def __init__(self, device: CameraDevice) -> None:
        self._device = device
        if not Path(device.at).is_file():
            raise DriverError(f"{device.at}: no such file; start with the path of a video (mp4, avi, mkv, ...)")
        self._capture = open_capture(device.at, cv2.CAP_FFMPEG)
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0.0 < rate_hz < 1e4:
            raise DriverError(f"{device.at}: found a rate of {rate_hz:g} pictures a second, allowed above 0; is it a video?")
        self._period_ns = round(1e9 / rate_hz / device.speed)
        self._due_ns = time.monotonic_ns()
        self._played = 0

    def next(self) -> Picture | None:
        """The next picture, once it is due. Raises DriverError after the last, unless it plays in a loop."""
        if not self._capture.grab():
            self._rewind()
            return None
        picture = retrieve(self._capture, self._device.at)
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) / 1e9)
        self._due_ns = max(self._due_ns, time.monotonic_ns() - self._period_ns)  # what was late stays late, it is not caught up
        stamp_ns = self._due_ns
        self._due_ns += self._period_ns
        self._played += 1
        return stamp_ns, picture

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _rewind(self) -> None:
        if not self._device.loop or not self._played:
            raise DriverError(f"{self._device.at}: ended after {self._played} pictures; start again, or set device.loop: true")
        self._played = 0
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
