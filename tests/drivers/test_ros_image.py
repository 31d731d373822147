"""Pictures of a foreign camera on ROS 2 in this computer's loopback: encodings, stamps, deliveries, going and coming back."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from drivers import ros_image
from drivers.camera_capture import Picture
from drivers.cameras import open_camera
from drivers.ros_image import RosImageSource, image_topics
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import DriverError
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame
from tests.drivers.image_publisher import ImagePublisher
from tests.ros_domain import own_domain

TOPIC = "/foreign/image"
PICTURE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A ROS domain of this computer that is nobody else's."""
    with own_domain(tmp_path_factory.mktemp("dds")) as (domain, _):
        yield domain


@pytest.fixture
def wired(domain: int) -> Iterator[Callable[..., tuple[Any, RosImageSource]]]:
    """A publisher, its settings given, and a source that hears it."""
    with ExitStack() as ends:

        def connect(**settings: Any) -> tuple[Any, RosImageSource]:
            publisher = ImagePublisher(TOPIC, domain, **settings)
            ends.callback(publisher.close)
            source = RosImageSource(CameraDevice("ros", TOPIC, domain=domain))
            ends.callback(source.close)
            return publisher, source

        yield connect


def heard(source: RosImageSource, publish: Callable[[], None]) -> Picture:
    """The picture that came of `publish`, repeated until the two have found each other."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        publish()
        if (picture := source.next()) is not None:
            return picture
    raise AssertionError("no picture within 60 s")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_colours_come_out_as_red_green_blue(wired: Callable[..., Any], encoding: str) -> None:
    publisher, source = wired()
    sent = PICTURE[..., ::-1] if encoding.startswith("bgr") else PICTURE
    if encoding.endswith("a8"):
        sent = np.concatenate([sent, np.full((24, 32, 1), 255, np.uint8)], axis=2)
    _, rgb = heard(source, lambda: publisher.publish(np.ascontiguousarray(sent), encoding))
    np.testing.assert_array_equal(rgb, PICTURE)


def test_grey_and_longer_rows_and_best_effort_are_understood(wired: Callable[..., Any]) -> None:
    publisher, source = wired(reliable=False)
    _, rgb = heard(source, lambda: publisher.publish(PICTURE[..., 0].copy(), "mono8", padding=5))
    np.testing.assert_array_equal(rgb, np.repeat(PICTURE[..., :1], 3, axis=2))


def test_compressed_pictures_are_decoded(wired: Callable[..., Any]) -> None:
    publisher, source = wired(compressed=True)
    smooth = np.linspace(0, 250, 24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)
    _, rgb = heard(source, lambda: publisher.publish(smooth))
    assert np.abs(rgb.astype(int) - smooth).mean() < 4


def test_pixels_of_a_depth_camera_are_refused_with_the_ones_allowed(wired: Callable[..., Any]) -> None:
    publisher, source = wired()
    with pytest.raises(DriverError, match="found pictures in '16UC1', allowed rgb8"):
        heard(source, lambda: publisher.publish(PICTURE[..., 0].astype(np.uint16), "16UC1"))


@pytest.mark.parametrize("clock", [time.time_ns, time.monotonic_ns])
def test_the_headers_stamp_is_the_time_of_the_picture(wired: Callable[..., Any], clock: Callable[[], int]) -> None:
    publisher, source = wired()
    earlier_ns = time.monotonic_ns() - 3_000_000_000
    stamp_ns = clock() - 3_000_000_000
    t_ns, _ = heard(source, lambda: publisher.publish(PICTURE, stamp_ns=stamp_ns))
    assert abs(t_ns - earlier_ns) < 50_000_000, "a three seconds old picture, however long it took to find each other"


def test_a_stamp_of_no_clock_of_this_computer_is_replaced_by_the_arrival(wired: Callable[..., Any]) -> None:
    publisher, source = wired()
    before_ns = time.monotonic_ns()
    t_ns, _ = heard(source, lambda: publisher.publish(PICTURE, stamp_ns=5_000_000_000))
    assert before_ns <= t_ns <= time.monotonic_ns()


def test_a_camera_whose_node_ends_is_lost_and_found_again(domain: int) -> None:
    device = CameraDevice("ros", TOPIC, domain=domain, silent_s=0.3, retry_s=0.05, retry_most_s=0.2)
    first = ImagePublisher(TOPIC, domain).start(PICTURE)
    with closing(open_camera(CameraSpec("scene", -1, (0, 0, 0), (0, 0, 1), 0.8, 32, 24, 30.0, device=device))) as camera:
        assert isinstance(seen(camera, CameraFrame), CameraFrame)
        first.close()
        assert "camera scene: " in str(seen(camera, DriverError))
        gone_ns = time.monotonic_ns()
        with closing(ImagePublisher(TOPIC, domain, reliable=False).start(PICTURE)):
            while seen(camera, CameraFrame).t_ns < gone_ns:
                pass


def seen(camera: Any, kind: type) -> Any:
    """The first frame, or error, of `camera`."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            found: Any = camera.read()
        except DriverError as error:
            found = error
        if isinstance(found, kind):
            return found
        time.sleep(0.002)
    raise AssertionError(f"no {kind.__name__} within 60 s")


def test_a_topic_nobody_publishes_is_an_error_with_a_next_step(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ros_image, "FIND_S", 0.2)
    with pytest.raises(DriverError, match="/nobody: nobody publishes it; start"):
        RosImageSource(CameraDevice("ros", "/nobody", domain=domain))


def test_topics_with_pictures_are_found(domain: int) -> None:
    with closing(ImagePublisher(TOPIC, domain)), closing(ImagePublisher("/other/jpeg", domain, True)):
        assert set(image_topics(domain)) >= {TOPIC, "/other/jpeg"}
