"""The RealSense driver against the vendor's own software device: its modes, its stamps, its silence."""

import time
from contextlib import closing
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", reason="needs the extra `realsense`: pip install 'robot_stack[realsense]', and libusb-1.0")

import pyrealsense2 as rs

from drivers.realsense import RealsenseSource
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import DriverError
from robot_stack.robot import CameraSpec

WIDTH, HEIGHT = 64, 48


def spec(serial: str = "", width: int = WIDTH) -> CameraSpec:
    device = CameraDevice("realsense", serial)
    return CameraSpec("scene", -1, (0, 0, 0), (0, 0, 1), 0.8, width, HEIGHT, 30.0, device=device)


class SoftCamera:
    """A software device with one colour sensor; `show` lets it take a picture."""

    def __init__(self) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, "0815")
        self._sensor = self.device.add_sensor("Color")
        stream = rs.video_stream()
        stream.type, stream.fmt = rs.stream.color, rs.format.rgb8
        stream.index, stream.uid, stream.width, stream.height, stream.fps, stream.bpp = 0, 1, WIDTH, HEIGHT, 30, 3
        stream.intrinsics = rs.intrinsics()
        self._profile = self._sensor.add_video_stream(stream).as_video_stream_profile()
        self._shown = 0

    def show(self, rgb: np.ndarray, stamp_ns: int) -> None:
        frame: Any = rs.software_video_frame()
        frame.pixels, frame.stride, frame.bpp, frame.profile = rgb, WIDTH * 3, 3, self._profile
        frame.timestamp, frame.domain, frame.frame_number = stamp_ns * 1e-6, rs.timestamp_domain.global_time, self._shown
        self._shown += 1
        self._sensor.on_video_frame(frame)


def test_the_newest_picture_comes_in_colour_with_the_time_it_was_taken() -> None:
    camera = SoftCamera()
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    with closing(RealsenseSource(spec(), [camera.device])) as source:
        camera.show(np.zeros_like(picture), time.time_ns() - 1_000_000_000)
        taken_ns = time.monotonic_ns() - 500_000_000
        camera.show(picture, time.time_ns() - 500_000_000)
        found = source.next()
        while found is not None and found[1].max() == 0:
            found = source.next()
    assert found is not None
    np.testing.assert_array_equal(found[1], picture)
    assert abs(found[0] - taken_ns) < 50_000_000


def test_a_camera_that_shows_nothing_gives_nothing() -> None:
    with closing(RealsenseSource(spec("0815"), [SoftCamera().device])) as source:
        assert source.next() is None


def test_a_size_it_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(DriverError, match="found no colour pictures of 99x48 at 30 Hz, allowed 64x48 at 30"):
        RealsenseSource(spec(width=99), [SoftCamera().device])


def test_another_serial_number_is_another_camera() -> None:
    with pytest.raises(DriverError, match="RealSense 4711: not there; is it plugged in"):
        RealsenseSource(spec("4711"), [SoftCamera().device])
