"""The capture thread against a device whose faults are scripted, and the pure rules of time it uses."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from drivers.camera_capture import CapturedCamera, Picture, Retry, taken_ns
from drivers.mjpeg_camera import newest_jpeg, shown
from drivers.rtsp_camera import StreamClock
from robot_stack.errors import DriverError
from robot_stack.types import CameraFrame

S, MS = 1_000_000_000, 1_000_000
SOON = Retry(MS, 4 * MS)


class ScriptedSource:
    """Gives what the script says, one a call: a stamp is a picture, None a wait, an exception a fault. Then nothing comes."""

    def __init__(self, script: Iterator[int | None | Exception]) -> None:
        self.script, self.closed = script, 0

    def next(self) -> Picture | None:
        found = next(self.script, None)
        if isinstance(found, Exception):
            raise found
        if found is None:
            time.sleep(0.001)  # a device's wait
            return None
        return found, np.full((4, 4, 3), found, np.uint8)

    def close(self) -> None:
        self.closed += 1


def connected(*scripts: list[int | None | Exception] | Exception, retry: Retry | None = SOON) -> CapturedCamera:
    """A camera whose device is, at each opening, the next of `scripts`; after the last it is not there."""
    waiting = iter(scripts)

    def connect() -> ScriptedSource:
        script = next(waiting, DriverError("not there"))
        if isinstance(script, Exception):
            raise script
        return ScriptedSource(iter(script))

    return CapturedCamera("scene", connect, 0.02, retry)


def until(camera: CapturedCamera, what: Callable[[CameraFrame | str], bool]) -> CameraFrame | str:
    """The first frame, or text of an error, that is `what` is looked for."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            seen: CameraFrame | str | None = camera.read()
        except DriverError as error:
            seen = str(error)
        if seen is not None and what(seen):
            return seen
        time.sleep(0.001)
    raise AssertionError("not seen within 30 s")


def test_a_lost_device_is_an_error_until_it_is_back_and_pictures_flow_again() -> None:
    there = [1, DriverError("pulled")]
    with closing(connected(there, DriverError("absent"), DriverError("absent"), [7, *[None] * 9])) as camera:
        assert until(camera, lambda seen: isinstance(seen, CameraFrame) and seen.t_ns == 7)


def test_the_error_names_the_camera_and_the_device_that_is_gone() -> None:
    with closing(connected([1, DriverError("/dev/video7: pulled")], retry=None)) as camera:
        assert until(camera, lambda seen: isinstance(seen, str)) == "camera scene: /dev/video7: pulled"


def test_a_device_that_stays_silent_is_lost() -> None:
    with closing(connected([1])) as camera:
        assert until(camera, lambda seen: isinstance(seen, str)) == "camera scene: no picture for 0.02 s"


def test_a_device_that_may_not_be_reopened_stays_lost() -> None:
    with closing(connected([1, DriverError("ended")], [2], retry=None)) as camera:
        until(camera, lambda seen: seen == "camera scene: ended")
        camera._thread.join(timeout=30)
        with pytest.raises(DriverError, match="ended"):
            camera.read()


def test_a_picture_older_than_the_last_is_passed_over() -> None:
    with closing(connected([5, 3, 4, 6])) as camera:
        stamps = [until(camera, lambda seen: isinstance(seen, CameraFrame))]
        while stamps[-1].t_ns < 6:  # type: ignore[union-attr]
            stamps.append(until(camera, lambda seen: isinstance(seen, CameraFrame)))
        assert {frame.t_ns for frame in stamps} <= {5, 6}  # type: ignore[union-attr]


def test_an_exception_nobody_expected_reaches_who_reads() -> None:
    camera = connected([1, ZeroDivisionError("a bug")])
    camera._thread.join(timeout=30)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        camera.read()


def test_a_device_that_breaks_before_its_first_picture_is_closed_and_named() -> None:
    source = ScriptedSource(iter([DriverError("of another size")]))
    with pytest.raises(DriverError, match="camera scene: of another size"):
        CapturedCamera("scene", lambda: source, 1.0, None)
    assert source.closed == 1


def test_a_lost_device_is_tried_after_twice_the_time_each_time_up_to_the_most() -> None:
    retry, now_ns, waits = Retry(250 * MS, 5 * S), 100 * S, []
    for _ in range(8):
        retry = retry.failed(now_ns)
        waits.append((retry.due_ns - now_ns) / 1e9)
        now_ns = retry.due_ns
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert retry.succeeded().failed(now_ns).due_ns - now_ns == 250 * MS


def test_a_thousand_failures_do_not_overflow_the_wait() -> None:
    retry = Retry(250 * MS, 5 * S)
    for _ in range(1000):
        retry = retry.failed(0)
    assert retry.due_ns == 5 * S


@pytest.mark.parametrize(
    ("stamp_ns", "expected_ns", "why"),
    [
        (50 * S - 40 * MS, 50 * S - 40 * MS, "a stamp of the monotonic clock is the time itself"),
        (1_700_000_000 * S - 40 * MS, 50 * S - 40 * MS, "a stamp of the system's clock is moved by their offset"),
        (1_700_000_000 * S + 2 * MS, 50 * S, "a little in the future is now"),
        (1_700_000_003 * S, 50 * S, "far in the future is no stamp: the arrival counts"),
        (0, 50 * S, "no stamp: the arrival counts"),
        (12 * S, 50 * S, "a stamp of a simulation's clock is none of ours"),
    ],
)
def test_a_stamp_of_either_clock_becomes_monotonic_time(stamp_ns: int, expected_ns: int, why: str) -> None:
    assert taken_ns(stamp_ns, 50 * S, 1_700_000_000 * S) == expected_ns, why


def test_a_stream_that_was_held_up_knows_how_old_its_pictures_are() -> None:
    clock = StreamClock()
    ages = []
    for i, delay_ms in enumerate([300, 270, 180, 90, 20, 20, 25, 400, 370, 20]):
        pts_ns = 7 * S + i * 33 * MS
        arrived_ns = 90 * S + i * 33 * MS + delay_ms * MS
        ages.append(round((arrived_ns - clock.taken_ns(pts_ns, arrived_ns)) / MS))
    assert ages == [0, 0, 0, 0, 0, 0, 5, 380, 350, 0], "older than the fastest one by as much as it was held up"


def test_two_clocks_may_drift_apart() -> None:
    clock, drift = StreamClock(), 1.0001
    ages = [round(i * S * drift) - clock.taken_ns(i * S, round(i * S * drift)) for i in range(1, 3600)]
    assert max(ages) < MS


JPEG = b"\xff\xd8\xff\xe0 one \xff\xd9"
OTHER = b"\xff\xd8\xff\xe0 two \xff\xd9"


@pytest.mark.parametrize(
    ("stream", "newest", "rest"),
    [
        (b"", None, b""),
        (b"--frame\r\n\r\n" + JPEG[:-1], None, b"--frame\r\n\r\n" + JPEG[:-1]),
        (b"--frame\r\n\r\n" + JPEG, JPEG, b""),
        (JPEG + b"\r\n--frame\r\n\r\n" + OTHER + b"\r\n--fr", OTHER, b"\r\n--fr"),
        (b"\xff\xd9 the end of one that was cut off", None, b"\xff\xd9 the end of one that was cut off"),
    ],
)
def test_the_newest_whole_jpeg_is_taken_out_of_a_stream(stream: bytes, newest: bytes | None, rest: bytes) -> None:
    assert newest_jpeg(stream) == (newest, rest)


def test_a_password_is_not_shown() -> None:
    assert shown("rtsp://me:secret@10.0.0.2:554/a@b") == "rtsp://10.0.0.2:554/a@b"
