"""What camera_node says about its camera: each fault once, and that it is over."""

import numpy as np

from robot_stack.diagnostics import Level
from robot_stack.nodes.frame_watch import FrameWatch
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame

MS = 1_000_000
SPEC = CameraSpec("scene", -1, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.8, 6, 4, 30.0)


def frame(t_ms: int, height: int = 4, width: int = 6) -> CameraFrame:
    return CameraFrame("scene", t_ms * MS, np.zeros((height, width, 3), np.uint8))


def test_nothing_is_said_of_frames_that_come_in_time() -> None:
    watch = FrameWatch(SPEC, 0.25, 0)
    assert [watch.good(frame(t), (t + 20) * MS) for t in range(0, 200, 33)] == [None] * 7
    assert watch.nothing(300 * MS) is None


def test_a_late_frame_is_said_once_and_when_it_came_again_with_how_long_there_was_none() -> None:
    watch = FrameWatch(SPEC, 0.25, 0)
    watch.good(frame(0), 20 * MS)
    assert watch.nothing(271 * MS) == "camera scene: no frame for 250 ms"
    assert watch.nothing(900 * MS) is None
    assert watch.good(frame(1400), 1420 * MS) == "camera scene: well again, after 1.4 s"
    assert watch.good(frame(1433), 1453 * MS) is None


def test_a_lost_device_is_said_once_for_each_reason_and_explains_that_nothing_comes() -> None:
    watch = FrameWatch(SPEC, 0.25, 0)
    assert watch.gone("camera scene: pulled") == "camera scene: pulled; tried again until it is back"
    assert watch.gone("camera scene: pulled") is None
    assert watch.gone("camera scene: not there") == "camera scene: not there; tried again until it is back"
    assert watch.gone("camera scene: pulled") is None
    assert watch.nothing(9_000 * MS) is None
    assert watch.good(frame(9_000), 9_010 * MS) == "camera scene: well again, after 9.0 s"
    assert watch.gone("camera scene: pulled") is not None, "a new loss is said anew"


def test_a_frame_of_another_size_is_said_with_both_sizes() -> None:
    watch = FrameWatch(SPEC, 0.25, 0)
    said = watch.wrong_size(frame(0, 8, 12))
    assert said == "camera scene: dropped: found 12x8, allowed 6x4; set the camera, or the robot's file"
    assert watch.wrong_size(frame(33, 8, 12)) is None


def test_frames_that_are_old_when_they_come_are_said_to_be() -> None:
    watch = FrameWatch(SPEC, 0.25, 0)
    assert watch.good(frame(0), 400 * MS) == "camera scene: frames are 400 ms old, allowed 250 ms"
    assert watch.good(frame(33), 433 * MS) is None
    assert watch.good(frame(500), 520 * MS) == "camera scene: well again, after 0.1 s"


def test_frames_are_judged_by_their_rate_their_faults_and_how_old_they_were() -> None:
    watch = FrameWatch(SPEC, 0.25, 0)
    for t in range(0, 1000, 33):
        watch.good(frame(t), (t + 20) * MS)
    well = watch.reading(1000 * MS)
    assert (well.level, well.values["dropped"], well.values["age_max_ms"]) == (Level.OK, 0, 20.0)
    for t in range(1000, 2000, 66):
        watch.good(frame(t), (t + 20) * MS)
    assert watch.reading(1000 * MS).level is Level.WARN
    watch.wrong_size(frame(2000, 8, 12))
    gone = watch.reading(1000 * MS)
    assert gone.level is Level.ERROR and gone.values["dropped"] == 1 and "found 12x8" in gone.message
