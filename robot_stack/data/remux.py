"""Video files made of other video files by copying packets: no picture is decoded, so none gets worse.

A picture can only be decoded from the key frame before it. A piece that begins between two key frames is therefore copied from
the key frame on, and where the pieces of a file begin is returned (LeRobot v3 keeps that in its index) or, for a file of one
piece, written as an edit list, so that players and decoders begin at the right picture (LeRobot v2.1 has no such index).
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from robot_stack.data.recording import Clip
from robot_stack.errors import DataError

EARLY_S = 1e-3
"""A picture is asked for by its time in s, which files round."""


@dataclass(frozen=True, slots=True)
class Track:
    """What must be the same for two videos to lie in one file."""

    codec: str
    width: int
    height: int
    pix_fmt: str
    extradata: bytes
    time_base: str


def track_of(path: Path) -> Track:
    """How the pictures of `path` are encoded. Raises DataError when it is no video."""
    with opened(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        extra = bytes(context.extradata or b"")
        return Track(
            stream.codec.canonical_name, context.width, context.height, context.pix_fmt or "", extra, str(stream.time_base)
        )


def opened(path: Path) -> Any:
    """The container of the video `path`. Raises DataError when it is missing or no video."""
    if not path.is_file():
        raise DataError(f"video {path}: missing; copy the dataset again")
    try:
        container = av.open(str(path))
        if container.streams.video:
            return container
        container.close()
        raise DataError(f"video {path}: cannot be decoded after 0 frames (no video in it); copy the dataset again")
    except av.FFmpegError as error:
        raise DataError(f"video {path}: cannot be decoded after 0 frames ({error}); copy the dataset again") from error


class ClipWriter:
    """The mp4 file `out`, made of the packets of clips of one `Track`. Whole once closed; DataError on a full disk."""

    def __init__(self, out: Path) -> None:
        self.out = out
        out.parent.mkdir(parents=True, exist_ok=True)
        self._container: Any = av.open(str(out), "w", format="mp4", options={"avoid_negative_ts": "disabled"})
        self._stream: Any = None
        self._end = 0

    def add(self, clip: Clip, at_zero: bool = False) -> float:
        """Append `clip`; returns when (s) its first picture comes. `at_zero`: at 0 s, what comes before is hidden."""
        start_s = 0.0
        with _refused(self.out), opened(clip.path) as source:
            ours = source.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(ours, opaque=True)
                self._stream.time_base = ours.time_base
            shift: int | None = -_pts(clip.times_s[0], ours) if at_zero else None
            for packet in _packets(source, ours, clip):
                if shift is None:
                    shift = self._end - min(packet.dts, packet.pts) if self._end else -packet.pts
                    start_s = float((_pts(clip.times_s[0], ours) + shift) * ours.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                self._end = max(self._end, packet.pts + packet.duration, packet.dts + 1)
                packet.stream = self._stream
                self._container.mux(packet)
        return start_s

    def close(self) -> None:
        """Write the file's index."""
        with _refused(self.out):
            self._container.close()


@contextmanager
def _refused(out: Path) -> Iterator[None]:
    """What FFmpeg refuses, as a DataError."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"video {out}: {error.strerror or error}; free some space? The source is as it was") from error


def copy_clip(clip: Clip, out: Path) -> float:
    """Write the packets of `clip` to `out`; returns when (s) its first picture comes. Raises DataError as `ClipWriter`."""
    writer = ClipWriter(out)
    start_s = writer.add(clip)
    writer.close()
    return start_s


def copy_alone(clip: Clip, out: Path) -> None:
    """`clip` as a file of its own whose first picture is at 0 s. A whole file is copied as it is. Raises as `ClipWriter`."""
    if clip.times_s[0] <= EARLY_S:
        _copy_file(clip.path, out)
        return
    writer = ClipWriter(out)
    writer.add(clip, at_zero=True)
    writer.close()


def count_pictures(path: Path) -> int:
    """How many pictures the file holds, counted by its packets. Raises DataError when it is cut or no video."""
    with opened(path) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def _copy_file(source: Path, out: Path) -> None:
    if not source.is_file():
        raise DataError(f"video {source}: missing; copy the dataset again")
    try:
        shutil.copyfile(source, out)
    except OSError as error:
        out.unlink(missing_ok=True)
        raise DataError(f"video {out}: {error.strerror}; free some space, nothing was changed") from error


def _packets(source: Any, stream: Any, clip: Clip) -> Iterator[Any]:
    """Those from the key frame before the clip's first picture to its last picture, in decoding order."""
    first, last = _pts(clip.times_s[0], stream), _pts(clip.times_s[-1], stream)
    source.seek(max(first, stream.start_time or 0), stream=stream, backward=True)
    kept, needed = [], 0
    for packet in source.demux(stream):
        if not packet.size or packet.pts is None:
            continue
        if packet.is_keyframe and packet.pts > last and needed:
            break
        kept.append(packet)
        if packet.pts <= last:
            needed = len(kept)
            yield from kept
            kept = []
    if not needed:
        raise DataError(f"video {clip.path}: found no picture at {clip.times_s[0]:.3f} s; is it shorter than the episode?")


def _pts(time_s: float, stream: Any) -> int:
    """`time_s` since the file's first picture in units of the stream, rounded to the nearest."""
    return int(round((float(time_s)) / float(stream.time_base))) + int(stream.start_time or 0)
