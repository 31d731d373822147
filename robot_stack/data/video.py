"""Pictures out of video files and out of compressed bytes, resized while decoding; and pictures into such."""

import ctypes
import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robot_stack.data.recording import Clip, Pictures
from robot_stack.errors import DataError
from robot_stack.types import Array, Image

Size = tuple[int | None, int | None]
"""(height, width), None: as it is."""

ENCODERS = {"h264": ("libx264", {"crf": "18", "preset": "veryfast"}), "av1": ("libsvtav1", {"crf": "24", "preset": "8"})}
"""Codec -> PyAV's encoder and its options: near what the eye can tell apart."""

KEY_FRAMES = 2
"""Every second picture is a key frame: any row is found by decoding two pictures at most, as LeRobot's own videos have it."""

COMPARED = 16
"""The most pictures of an episode whose loss is measured."""


def decode_video(path: Path, size: Size, times: Array) -> Image:
    """The frames of `path` at `times` (n,) s since its first, uint8 (n, H, W, 3); resized by area averaging.

    Needs av. Raises DataError when the file is missing or damaged, or has no frame within half a frame of a time.
    """
    images: Image | None = None
    for i, frame in enumerate(_frames(path, times)):
        height, width = size[0] or frame.height, size[1] or frame.width
        if images is None:
            images = np.empty((len(times), height, width, 3), np.uint8)
        images[i] = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    assert images is not None, "a clip has at least one picture"
    return images


def iterate(pictures: Clip | Pictures) -> Iterator[Image]:
    """`pictures` one by one, uint8 (H, W, 3), wherever they lie. Raises DataError as `decode_video`."""
    return iterate_clip(pictures) if isinstance(pictures, Clip) else iter(pictures)


def iterate_clip(clip: Clip) -> Iterator[Image]:
    """The pictures of `clip` one by one, uint8 (H, W, 3). Raises DataError as `decode_video`."""
    for frame in _frames(clip.path, clip.times_s):
        yield frame.to_ndarray(format="rgb24")


def _frames(path: Path, times: Array) -> Iterator[Any]:
    import av  # the robot itself reads no videos

    from robot_stack.data.remux import opened

    found = 0
    try:
        with opened(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            origin = float((stream.start_time or 0) * stream.time_base)
            if times[0] > 1.0:
                container.seek(int((times[0] + origin) / stream.time_base), stream=stream, backward=True)
            half = 0.5 / float(stream.average_rate or 30)
            for frame in container.decode(stream):
                time_s = frame.time - origin
                if time_s < times[found] - half:
                    continue
                if time_s > times[found] + half:
                    raise DataError(f"video {path}: found no frame at {times[found]:.3f} s, the next is of {time_s:.3f} s")
                yield frame
                found += 1
                if found == len(times):
                    return
    except (av.FFmpegError, IndexError) as error:
        raise DataError(f"video {path}: cannot be decoded after {found} frames ({error}); copy the dataset again") from error
    raise DataError(f"video {path}: found {found} frames, allowed {len(times)}, one for each row of the episode")


def encode_video(pictures: Iterable[Image], path: Path, rate_hz: float, codec: str) -> tuple[int, float]:
    """Write `pictures`, uint8 (H, W, 3), as the mp4 file `path`; returns how many, and the PSNR (dB) of up to COMPARED of them.

    The same pictures give the same bytes. Raises DataError, and leaves no file, where that is refused.
    """
    import av

    if codec not in ENCODERS:
        raise DataError(f"codec: found {codec!r}, allowed {', '.join(ENCODERS)}")
    kept: dict[int, Image] = {}
    rate, count = Fraction(rate_hz).limit_denominator(1000), 0
    try:
        with av.open(str(path), "w", format="mp4") as container:
            stream: Any = None
            for picture in pictures:
                if stream is None:
                    stream = _stream(container, codec, rate, picture)
                kept[count] = picture
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = count, 1 / rate
                container.mux(stream.encode(frame))
                count += 1
                if len(kept) > 2 * COMPARED:
                    kept = _every_second(kept)
            container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        path.unlink(missing_ok=True)
        raise DataError(f"video {path}: {error.strerror or error} after {count} frames; free some space?") from error
    return count, psnr_db(kept, path, rate_hz)


def _stream(container: Any, codec: str, rate: Fraction, picture: Image) -> Any:
    encoder, options = ENCODERS[codec]
    stream = container.add_stream(encoder, rate=rate, options=options)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p" if codec == "av1" or not (stream.height % 2 or stream.width % 2) else "yuv444p"
    stream.codec_context.gop_size = KEY_FRAMES
    stream.codec_context.thread_count = 1
    stream.codec_context.max_b_frames = 0
    with same_scheduling():
        stream.codec_context.open()
    return stream


@contextmanager
def same_scheduling() -> Iterator[None]:
    """The calling thread, and threads that begin inside, are scheduled afterwards as the caller was before.

    libsvtav1, where root runs it, makes itself and its caller SCHED_FIFO 99: above any control loop. The C library remembers that
    of the caller, and Fast DDS asks it when it makes threads; so the caller is set back through it.
    """
    policy, parameters, before = os.sched_getscheduler(0), os.sched_getparam(0), _threads()
    try:
        yield
    finally:
        for thread in _threads() - before:
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, policy, parameters)
        priority = ctypes.byref(ctypes.c_int(parameters.sched_priority))
        ctypes.CDLL(None).pthread_setschedparam(ctypes.c_ulong(threading.get_ident()), policy, priority)


def _threads() -> set[int]:
    return {int(thread) for thread in os.listdir("/proc/self/task")}


def _every_second(kept: dict[int, Image]) -> dict[int, Image]:
    return {i: picture for number, (i, picture) in enumerate(kept.items()) if number % 2 == 0}


def psnr_db(kept: dict[int, Image], path: Path, rate_hz: float) -> float:
    """Peak signal-to-noise ratio of the frames of `path` against `kept` (frame number -> what it should be), over all pixels.

    10 log10(255^2 / mean squared error); inf where every pixel is the same.
    """
    times = np.array(sorted(kept)) / rate_hz
    errors = [
        np.mean((a.astype(np.float32) - kept[i]) ** 2) for i, a in zip(sorted(kept), iterate_clip(Clip(path, times)), strict=True)
    ]
    mean = float(np.mean(errors))
    return 10 * math.log10(255**2 / mean) if mean else math.inf


def jpeg(rgb: Image, width_most: int = 0, quality: int = 80) -> bytes:
    """`rgb` (H, W, 3) as JPEG, no wider than `width_most` px (0: as it is)."""
    height, width, _ = rgb.shape
    if 0 < width_most < width:
        size = (width_most, max(1, round(height * width_most / width)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "an 8-bit picture can always be encoded"
    return data.tobytes()


def decode_pictures(packed: Sequence[bytes], name: str, size: Size) -> Image:
    """JPEG or PNG bytes as uint8 (n, H, W, 3), resized by area averaging. Raises DataError, with `name`, for other bytes."""
    images = []
    for i, data in enumerate(packed):
        rgb = decode_picture(data, f"{name}: picture {i}")
        height, width = size[0] or rgb.shape[0], size[1] or rgb.shape[1]
        images.append(rgb if rgb.shape[:2] == (height, width) else cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))
    return np.stack(images)


def decode_picture(data: bytes, name: str) -> Image:
    """One JPEG or PNG as uint8 (H, W, 3). Raises DataError, with `name`, for other bytes."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise DataError(f"{name} is no readable JPEG or PNG ({len(data)} bytes)")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
