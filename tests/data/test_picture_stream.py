"""Pictures as an H.264 stream: what comes back, and what is left out where a piece is lost."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="H.264 needs PyAV (extra `train`)")

from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.data.picture_stream import (
    KEY_EVERY,
    STREAMED,
    StreamDecoder,
    StreamEncoder,
    fingerprint_of,
    require_encoder,
)
from robot_stack.data.repair import repair
from robot_stack.data.rosbags_messages import deserialize_cdr, make, serialize_cdr
from robot_stack.data.wire import IMAGE, frame_value, to_message
from robot_stack.errors import ConfigError, DataError
from robot_stack.types import CameraFrame, Image


def picture(i: int, height: int = 48, width: int = 64) -> Image:
    """A slope with a bright square that moves."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([2 * x, 3 * y, x + y], axis=2).astype(np.uint8)
    rgb[10:20, i % (width - 10) : i % (width - 10) + 10] = 240
    return rgb


def image(rgb: Image, t_ns: int = 0) -> bytes:
    return serialize_cdr(to_message(CameraFrame("scene", t_ns, rgb), make))


def encoded(count: int) -> list[bytes]:
    encoder = StreamEncoder("libx264", 20)
    return [encoder.encode(image(picture(i), 1000 * i))[0] for i in range(count)]


def decoded(streamed: bytes | None) -> CameraFrame:
    assert streamed is not None
    return frame_value(deserialize_cdr(streamed, IMAGE))


def psnr_db(a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def test_each_picture_comes_back_at_once_with_its_stamp_and_camera_and_looks_the_same() -> None:
    decoder = StreamDecoder()
    for i, data in enumerate(encoded(2 * KEY_EVERY + 5)):
        frame = decoded(decoder.decode(data))
        assert (frame.camera, frame.t_ns) == ("scene", 1000 * i)
        assert psnr_db(frame.rgb, picture(i)) > 32


def test_every_thirtieth_picture_is_a_key_frame_with_which_decoding_can_begin() -> None:
    pieces = encoded(KEY_EVERY + 3)
    decoder = StreamDecoder()
    assert [decoder.decode(piece) is not None for piece in pieces[20:]] == [False] * 10 + [True] * 3


def test_after_a_lost_piece_pictures_are_left_out_up_to_the_next_key_frame() -> None:
    pieces, decoder = encoded(KEY_EVERY + 2), StreamDecoder()
    del pieces[5]
    came = [decoder.decode(piece) is not None for piece in pieces]
    assert came == [True] * 5 + [False] * (KEY_EVERY - 6) + [True] * 2


def test_a_picture_of_another_size_begins_a_new_stream() -> None:
    encoder, decoder = StreamEncoder("libx264", 20), StreamDecoder()
    shapes = [(48, 64), (48, 64), (32, 32), (32, 32)]
    pieces = [encoder.encode(image(picture(i, *shape))) for i, shape in enumerate(shapes)]
    assert [since for _, since in pieces] == [0, 1, 0, 1]
    assert [decoded(decoder.decode(data)).rgb.shape[:2] for data, _ in pieces] == shapes


def test_a_picture_with_odd_sides_is_refused() -> None:
    with pytest.raises(DataError, match="even sides"):
        StreamEncoder("libx264", 20).encode(image(picture(0, 47, 64)))


def test_the_fingerprint_is_of_the_pixels_before_they_were_encoded() -> None:
    encoder = StreamEncoder("libx264", 20)
    first, same, other = (image(picture(i)) for i in (0, 0, 1))
    prints = [fingerprint_of(deserialize_cdr(encoder.encode(data)[0], STREAMED)) for data in (first, same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert fingerprint_of(deserialize_cdr(first, IMAGE)) == prints[0]


def test_bytes_that_are_no_video_are_named() -> None:
    message = deserialize_cdr(encoded(1)[0], STREAMED)
    message.data = np.zeros(40, np.uint8)
    with pytest.raises(DataError, match="cannot be decoded"):
        StreamDecoder().decode(serialize_cdr(message))
    message.format = "jpeg"
    with pytest.raises(DataError, match="found format 'jpeg'"):
        StreamDecoder().decode(serialize_cdr(message))


def test_an_encoder_that_is_not_there_is_said_before_anything_runs() -> None:
    require_encoder("libx264")
    with pytest.raises(ConfigError, match=r"collect\.encoder: found 'h26x'"):
        require_encoder("h26x")


def test_a_cut_log_of_a_stream_is_read_up_to_there_and_repaired(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", ())) as log:
        for i, data in enumerate(encoded(4)):
            log.write("/scene/image", 1000 * i, data, STREAMED)
    file = next((tmp_path / "log").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-200])
    assert repair(tmp_path / "log", tmp_path / "whole").messages == {"/scene/image": 4}
    for folder in ("log", "whole"):
        assert [value.t_ns for _, _, value in read_log(tmp_path / folder).iterate()] == [0, 1000, 2000, 3000]


def test_a_log_of_a_stream_is_read_as_pictures_among_its_other_messages(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", ())) as log:
        for i, data in enumerate(encoded(4)):
            log.write("/scene/image", 1000 * i, data, STREAMED)
    read = read_log(tmp_path / "log")
    assert [value.t_ns for _, _, value in read.iterate()] == [0, 1000, 2000, 3000]
    assert {raw.typename for raw in read.messages()} == {IMAGE} and {raw.typename for raw in read.stored()} == {STREAMED}
    assert read.summary.messages == {"/scene/image": 4}
