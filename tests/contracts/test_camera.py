"""What every Camera does. A new one joins `OPEN`: a function from the name of a running world to the open camera."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from drivers.shared_world import SharedCamera
from robot_stack.errors import DriverError
from robot_stack.interfaces import Camera
from robot_stack.types import CameraFrame

OPEN: dict[str, Callable[[str], Camera]] = {
    "shared_scene": lambda world: SharedCamera(world, "scene"),
    "shared_wrist": lambda world: SharedCamera(world, "wrist"),
}
ABSENT: dict[str, Callable[[], Camera]] = {
    "no_world": lambda: SharedCamera("nobody.runs.this", "scene"),
}


@pytest.fixture(params=OPEN)
def camera(request: pytest.FixtureRequest, world_name: str) -> Iterator[Camera]:
    device = OPEN[request.param](world_name)
    yield device
    device.close()


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
