"""What every Camera does. A new one joins `OPEN`: a function from the test's `Bench` to the open camera."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.loopback_cameras import LoopbackCamera
from drivers.cameras import open_camera
from drivers.shared_world import SharedCamera
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import DriverError
from robot_stack.interfaces import Camera
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame

PICTURE = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)


@dataclass
class Bench:
    """What the far end of a camera needs: fixtures by name, a folder, and a stack that ends what was started for the test."""

    fixture: Callable[[str], object]
    folder: Path
    ends: ExitStack


def device(kind: str, at: str, **settings: object) -> Camera:
    """A real camera of 128 x 128."""
    found = CameraDevice(kind, at, **settings)  # type: ignore[arg-type]
    return open_camera(CameraSpec("scene", -1, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.8, 128, 128, 30.0, device=found))


def stream(kind: str, bench: Bench) -> Camera:
    """A network camera on the loopback."""
    server = LoopbackCamera(kind, 128, 128)
    bench.ends.callback(server.close)
    return device(kind, server.url)


def video(bench: Bench) -> Camera:
    """A film of ten pictures, in a loop."""
    path = str(bench.folder / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (128, 128))
    for i in range(10):
        writer.write(np.roll(PICTURE, i, axis=0))
    writer.release()
    return device("video", path, loop=True)


def topic(bench: Bench) -> Camera:
    """A camera that publishes on ROS 2."""
    domain = bench.fixture("ros_domain")
    from tests.drivers.image_publisher import ImagePublisher

    bench.ends.callback(ImagePublisher("/foreign/image", domain).start(PICTURE).close)
    return device("ros", "/foreign/image", domain=domain)


OPEN: dict[str, Callable[[Bench], Camera]] = {
    "shared_scene": lambda bench: SharedCamera(str(bench.fixture("world_name")), "scene"),
    "shared_wrist": lambda bench: SharedCamera(str(bench.fixture("world_name")), "wrist"),
    "mjpeg": lambda bench: stream("mjpeg", bench),
    "rtsp": lambda bench: stream("rtsp", bench),
    "video": video,
    "ros": topic,
}
ABSENT: dict[str, Callable[[], Camera]] = {
    "no_world": lambda: SharedCamera("nobody.runs.this", "scene"),
    "no_usb": lambda: device("v4l2", "/dev/v4l/by-id/no-such-camera"),
    "no_mjpeg": lambda: device("mjpeg", "http://127.0.0.1:9/video"),
    "no_rtsp": lambda: device("rtsp", "rtsp://127.0.0.1:9/video"),
    "no_video": lambda: device("video", "/nowhere/film.mp4"),
    "no_realsense": lambda: device("realsense", "000000000000"),
}


@pytest.fixture(params=OPEN)
def camera(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Camera]:
    with ExitStack() as ends:
        opened = OPEN[request.param](Bench(request.getfixturevalue, tmp_path, ends))
        ends.callback(opened.close)
        yield opened


def _next(camera: Camera) -> CameraFrame:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        frame = camera.read()
        if frame is not None:
            return frame
        time.sleep(0.002)
    raise AssertionError("no frame within 30 s")


def test_it_is_a_camera(camera: Camera) -> None:
    assert isinstance(camera, Camera)


def test_frames_carry_the_cameras_name_and_a_colour_picture(camera: Camera) -> None:
    frame = _next(camera)
    assert frame.camera == camera.name
    assert frame.rgb.dtype == np.uint8
    assert frame.rgb.shape == (128, 128, 3)
    assert frame.rgb.std() > 10


def test_a_picture_cannot_be_written(camera: Camera) -> None:
    with pytest.raises(ValueError, match="read-only"):
        _next(camera).rgb[0, 0, 0] = 1


def test_stamps_are_of_the_capture_and_increase(camera: Camera) -> None:
    stamps = [_next(camera).t_ns for _ in range(5)]
    assert all(earlier < later for earlier, later in zip(stamps, stamps[1:], strict=False))
    assert stamps[-1] <= time.monotonic_ns()


def test_the_same_frame_is_never_returned_twice(camera: Camera) -> None:
    _next(camera)
    stamps = [frame.t_ns for frame in (camera.read() for _ in range(200)) if frame is not None]
    assert len(stamps) == len(set(stamps))
    assert len(stamps) < 200


def test_closing_twice_is_allowed(camera: Camera) -> None:
    camera.close()
    camera.close()
    with pytest.raises(DriverError):
        camera.read()


def test_reading_a_closed_camera_is_an_error(camera: Camera) -> None:
    camera.close()
    with pytest.raises(DriverError):
        camera.read()


@pytest.mark.parametrize("kind", ABSENT)
def test_opening_a_camera_that_is_not_there_is_an_error_with_a_next_step(kind: str) -> None:
    with pytest.raises(DriverError, match="start"):
        ABSENT[kind]()


@pytest.mark.hardware
def test_a_usb_camera_gives_colour_pictures_stamped_by_the_kernel() -> None:
    """The first UVC camera of this computer, by its name that stays."""
    path = next(iter(sorted(Path("/dev/v4l/by-id").glob("*-video-index0"))), None)
    if path is None:
        pytest.skip("no camera in /dev/v4l/by-id; plug in a UVC camera")
    spec = CameraSpec("scene", -1, (0, 0, 0), (0, 0, 1), 0.8, 640, 480, 30.0, device=CameraDevice("v4l2", str(path)))
    opened = open_camera(spec)
    ages = [time.monotonic_ns() - _next(opened).t_ns for _ in range(30)]
    opened.close()
    assert 0 < min(ages) and max(ages[5:]) < 200_000_000
