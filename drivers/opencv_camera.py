"""UVC cameras (V4L2) through OpenCV, and what every OpenCV capture needs: how it is opened, and a picture from it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from drivers.camera_capture import Picture, taken_ns
from robot_stack.camera_device import CameraDevice
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError
from robot_stack.robot import CameraSpec
from robot_stack.types import Image

_MANUAL, _AUTOMATIC = 1, 3
"""Values of V4L2_CID_EXPOSURE_AUTO: manual, and aperture priority, which UVC cameras mean by automatic."""
_EXPOSURE_UNIT_S = 1e-4


def open_capture(address: str, interface: int, parameters: Sequence[int] = (), name: str = "") -> cv2.VideoCapture:
    """`address` opened by OpenCV's `interface` (CAP_V4L2, CAP_FFMPEG), which stays silent. Raises DriverError, about `name`."""
    name = name or address
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(address, interface, list(parameters))
    except cv2.error as error:
        raise DriverError(f"{name}: cannot be opened ({error}); is it plugged in and started?") from error
    if not capture.isOpened():
        raise DriverError(f"{name}: cannot be opened; is it plugged in and started, may this user read it?")
    return capture


def retrieve(capture: cv2.VideoCapture, name: str) -> Image:
    """The picture that was grabbed, rgb (H, W, 3). Raises DriverError when it cannot be decoded."""
    try:
        found, bgr = capture.retrieve()
        return _rgb(bgr if found else None)
    except cv2.error as error:
        raise DriverError(f"{name}: gave a picture that cannot be decoded ({error})") from error


def decoded(file: bytes, name: str) -> Image:
    """The picture in a JPEG or PNG `file`, rgb (H, W, 3). Raises DriverError when it is none."""
    try:
        return _rgb(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR))
    except cv2.error as error:
        raise DriverError(f"{name}: found {len(file)} bytes that are no picture, allowed JPEG or PNG ({error})") from error


def _rgb(bgr: Any) -> Image:
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class V4l2Source:
    """A UVC camera with the size, rate and pixel format asked for.

    A picture is stamped by the kernel (CLOCK_MONOTONIC, begin of the transfer) where OpenCV passes that on, else by its arrival
    less `delay_s`. Raises DriverError when the camera is not there or has no such mode.
    """

    def __init__(self, spec: CameraSpec) -> None:
        self._path, self._delay_ns = spec.device.at, nanoseconds(spec.device.delay_s)
        if not Path(self._path).exists():
            raise DriverError(f"{self._path}: not there; is it plugged in? start with: robot-stack find-cameras")
        self._capture = open_capture(self._path, cv2.CAP_V4L2)
        try:
            _set_mode(self._capture, spec)
            _set_exposure(self._capture, spec.device)
        except DriverError:
            self.close()
            raise

    def next(self) -> Picture | None:
        """The next picture. Raises DriverError when none comes: unplugged."""
        if not self._capture.grab():
            raise DriverError(f"{self._path}: gives no picture; is it unplugged?")
        now_ns = time.monotonic_ns()
        stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        arrived_ns = taken_ns(stamp_ns, now_ns, time.time_ns())
        return (arrived_ns if arrived_ns != now_ns else now_ns - self._delay_ns), retrieve(self._capture, self._path)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def _set_mode(capture: cv2.VideoCapture, spec: CameraSpec) -> None:
    """The pixel format first: the sizes and rates a camera has depend on it."""
    if fourcc := spec.device.fourcc:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, spec.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, spec.height)
    capture.set(cv2.CAP_PROP_FPS, spec.rate_hz)
    found = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    wanted = (fourcc or found, spec.width, spec.height)
    if (found, width, height) != wanted or rate_hz < 0.9 * spec.rate_hz:
        raise DriverError(
            f"{spec.device.at}: found {found} {width}x{height} at {rate_hz:g} Hz, the robot's file wants {fourcc or 'any'} "
            f"{spec.width}x{spec.height} at {spec.rate_hz:g} Hz; `v4l2-ctl -d {spec.device.at} --list-formats-ext` has the choice"
        )


def _set_exposure(capture: cv2.VideoCapture, device: CameraDevice) -> None:
    if not device.exposure_s:
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _AUTOMATIC)
        return
    wanted = max(1, round(device.exposure_s / _EXPOSURE_UNIT_S))
    manual = capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)
    if not (manual and capture.set(cv2.CAP_PROP_EXPOSURE, wanted)):
        raise DriverError(f"{device.at}: refuses an exposure of {device.exposure_s} s; leave out exposure_s, or another value")
