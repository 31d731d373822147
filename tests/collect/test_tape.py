"""What is heard on its way to a log: kept for a while, encoded, in order, and counted where it is lost."""

from pathlib import Path

import pytest

pytest.importorskip("av", reason="H.264 needs PyAV (extra `train`)")

from robot_stack.collect.tape import CHUNKS_BEFORE, Heard, Ring, Tape
from robot_stack.config.collect import CollectSettings
from robot_stack.data.log import LogWriter, read_log
from robot_stack.data.picture_stream import KEY_EVERY
from robot_stack.types import ActionChunk, CameraFrame, JointState
from tests.collect.small_robot import METADATA, message, picture, wish

NS = 1_000_000_000


def states(ring: Ring) -> list[int]:
    return [heard.t_ns for heard in ring.drain()]


def test_the_ring_forgets_what_is_older_than_its_seconds() -> None:
    ring = Ring(keep_ns=3 * NS, most_bytes=1000)
    for i in range(10):
        ring.add(Heard("/joint_states", i * NS, b"x"))
    assert states(ring) == [6 * NS, 7 * NS, 8 * NS, 9 * NS] and states(ring) == []


def test_the_ring_never_holds_more_than_its_bytes() -> None:
    ring = Ring(keep_ns=100 * NS, most_bytes=25)
    for i in range(10):
        ring.add(Heard("/joint_states", i, b"0123456789"))
    assert states(ring) == [8, 9]


def test_a_stream_in_the_ring_begins_with_a_key_frame_and_everything_else_with_its_first() -> None:
    ring = Ring(keep_ns=100, most_bytes=1000)
    for since in (7, 8, 0, 1):
        ring.add(Heard("/scene/image", since, b"x", "kind", since))
        ring.add(Heard("/joint_states", since, b"x"))
    kept = [(heard.topic[1:6], heard.since) for heard in ring.drain()]
    assert kept == [("joint", 0), ("joint", 0), ("scene", 0), ("joint", 0), ("scene", 1), ("joint", 0)]


def tape(said: list[str], queue_bytes: int = 2**26, **settings: object) -> Tape:
    def fail(error: BaseException) -> None:
        said.append(repr(error))

    return Tape(CollectSettings(**settings), said.append, fail, queue_bytes)  # type: ignore[arg-type]


def frame(i: int) -> bytes:
    return message(CameraFrame("scene", i, picture(i)))


def recorded(folder: Path, tape: Tape, before: int, during: int) -> list[int]:
    """Pictures heard before the log is begun and while it is open; the stamps of those in the log."""
    for i in range(before):
        tape.put("/scene/image", i, frame(i))
    writer = LogWriter(folder, METADATA)
    tape.begin(writer)
    for i in range(before, before + during):
        tape.put("/scene/image", i, frame(i))
    tape.end()
    writer.close()
    return [value.t_ns for _, _, value in read_log(folder).iterate({"/scene/image"})]


@pytest.mark.parametrize("codec", ["h264", "lossless"])
def test_what_happened_before_the_button_is_in_the_log_and_in_order(tmp_path: Path, codec: str) -> None:
    said: list[str] = []
    kept = tape(said, codec=codec, pre_trigger_s=20.0)
    assert recorded(tmp_path / "first", kept, 40, 5) == list(range(45))
    assert recorded(tmp_path / "second", kept, 3, 5) == list(range(8))
    kept.close()
    assert said == []


def test_without_a_ring_a_log_begins_at_the_button_with_a_key_frame(tmp_path: Path) -> None:
    plain = tape([])
    assert recorded(tmp_path / "log", plain, 5, 5) == list(range(5, 10))
    plain.close()


def test_a_ring_too_small_for_the_pictures_since_the_last_key_frame_costs_those_up_to_the_next(tmp_path: Path) -> None:
    small = tape([], pre_trigger_s=20.0, pre_trigger_mib=0.0)
    assert recorded(tmp_path / "log", small, 10, KEY_EVERY) == list(range(KEY_EVERY, KEY_EVERY + 10))
    small.close()


def test_chunks_from_before_are_in_the_log_once_however_old_they_are(tmp_path: Path) -> None:
    for seconds in (0.0, 20.0):
        before = tape([], pre_trigger_s=seconds)
        for i in range(10):
            chunk = ActionChunk(i, i, 50_000_000, [wish(0), wish(1)], "teleop")  # type: ignore[arg-type]
            before.put("/teleop/chunk", i * 10 * NS, message(chunk))
        writer = LogWriter(tmp_path / f"log{seconds}", METADATA)
        before.begin(writer)
        before.end()
        before.close()
        writer.close()
        found = [t_ns for _, t_ns, _ in read_log(writer.path).iterate({"/teleop/chunk"})]
        assert found == [i * 10 * NS for i in range(10 - CHUNKS_BEFORE, 10)]


def test_what_the_queue_has_no_room_for_is_dropped_and_counted_in_the_log(tmp_path: Path) -> None:
    said: list[str] = []
    narrow = tape(said, queue_bytes=len(frame(0)) - 1)
    assert recorded(tmp_path / "log", narrow, 0, 4) == []
    narrow.close()
    assert read_log(tmp_path / "log").summary.drops == {"/scene/image": 4} and said == []


def test_pictures_that_fill_the_queue_leave_room_for_what_is_small(tmp_path: Path) -> None:
    states = [message(JointState(i, wish(0), wish(0))) for i in range(3)]
    full = tape([], queue_bytes=24 * len(states[0]))
    writer = LogWriter(tmp_path / "log", METADATA)
    full.begin(writer)
    for i in range(8):
        full.put("/scene/image", i, frame(i))
    for i, state in enumerate(states):
        full.put("/joint_states", i, state)
    full.end()
    full.close()
    writer.close()
    summary = read_log(tmp_path / "log").summary
    assert summary.messages["/joint_states"] == 3 and "/joint_states" not in summary.drops


def test_a_picture_that_cannot_be_encoded_is_kept_as_it_is_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    odd = tape(said)
    writer = LogWriter(tmp_path / "log", METADATA)
    odd.begin(writer)
    odd.put("/scene/image", 7, message(CameraFrame("scene", 7, picture(0)[:15])))
    odd.end()
    odd.close()
    writer.close()
    ((_, _, value),) = read_log(tmp_path / "log").iterate()
    assert (value.rgb == picture(0)[:15]).all() and "even sides" in said[0]
