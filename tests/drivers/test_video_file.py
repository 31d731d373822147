"""Video files in the place of a camera: paced, in a loop, at their end, and files that are none."""

import time
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.cameras import open_camera
from drivers.video_file import VideoSource
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import ConfigError, DriverError
from robot_stack.robot import CameraSpec

COUNT = 6


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures, each brighter than the one before, at 50 a second."""
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for i in range(COUNT):
        writer.write(np.full((48, 64, 3), (0, 0, 40 * i), np.uint8))
    writer.release()
    return path


def source(film: Path, **settings: object) -> VideoSource:
    return VideoSource(CameraDevice("video", str(film), **settings))  # type: ignore[arg-type]


def test_pictures_are_red_green_blue_in_that_order_and_due_at_the_rate_of_the_file(film: Path) -> None:
    with closing(source(film)) as video:
        pictures = [video.next() for _ in range(COUNT)]
    assert all(picture is not None for picture in pictures)
    red = [int(picture[1][..., 0].mean()) for picture in pictures]  # type: ignore[index]
    np.testing.assert_allclose(red, [40 * i for i in range(COUNT)], atol=4)
    stamps = np.array([picture[0] for picture in pictures])  # type: ignore[index]
    assert (np.diff(stamps) >= 20_000_000).all(), "none before it is due"
    assert stamps[-1] <= time.monotonic_ns()


def test_it_plays_as_fast_as_asked(film: Path) -> None:
    with closing(source(film, speed=1000.0)) as video:
        begun = time.monotonic_ns()
        stamps = [picture[0] for picture in (video.next() for _ in range(COUNT)) if picture is not None]
    assert len(stamps) == COUNT
    assert stamps[0] >= begun
    assert all(later - earlier >= 20_000 for earlier, later in zip(stamps, stamps[1:], strict=False))


def test_the_end_is_an_error_that_says_what_to_do(film: Path) -> None:
    with closing(source(film, speed=100.0)) as video, pytest.raises(DriverError, match="ended after 6 pictures.*loop: true"):
        while True:
            video.next()


def test_in_a_loop_it_begins_again(film: Path) -> None:
    with closing(source(film, speed=100.0, loop=True)) as video:
        shown = [picture for picture in (video.next() for _ in range(3 * COUNT)) if picture is not None]
    assert len(shown) > 2 * COUNT
    assert shown[COUNT][1].mean() < shown[COUNT - 1][1].mean()


def test_a_camera_that_played_to_its_end_stays_at_its_end(film: Path) -> None:
    device = CameraDevice("video", str(film), retry_s=0.001)
    with closing(open_camera(CameraSpec("scene", -1, (0, 0, 0), (0, 0, 1), 0.8, 64, 48, 50.0, device=device))) as camera:
        end, said = time.monotonic() + 30, ""
        while time.monotonic() < end and not said:
            try:
                camera.read()
            except DriverError as error:
                said = str(error)
        with pytest.raises(DriverError, match="camera scene: .*film.avi: ended after 6"):
            camera.read()


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no film")
    with pytest.raises(DriverError, match=r"notes.mp4: cannot be opened"):
        source(tmp_path / "notes.mp4")


def test_a_setting_of_another_kind_of_camera_is_refused() -> None:
    with pytest.raises(ConfigError, match="device.loop: found it for kind rtsp, allowed for video only"):
        CameraDevice("rtsp", "rtsp://10.0.0.2/", loop=True)


@pytest.mark.parametrize("kind", ["v4l2", "mjpeg", "rtsp", "video", "ros"])
def test_a_camera_that_is_nowhere_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="device.at: found nothing"):
        CameraDevice(kind)  # type: ignore[arg-type]
