"""A camera's pictures as an H.264 stream in the log: one sensor_msgs/CompressedImage for each sensor_msgs/Image, header kept.

`format` is "rgb8; h264; N; CRC": N pictures since the key frame, with which decoding can begin, and a fingerprint of the pixels
before they were encoded, so that a camera that stands still is seen without decoding. There are no B frames: a picture needs none
that comes later, and a stream that is cut anywhere can be read up to there.

The loss: chroma at half the resolution, and what `crf` allows. Needs PyAV, which is imported when a stream is.
"""

import importlib.util
import re
import zlib
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from robot_stack.data.rosbags_messages import deserialize_cdr, make, serialize_cdr
from robot_stack.data.wire import IMAGE
from robot_stack.errors import ConfigError, DataError

STREAMED = "sensor_msgs/msg/CompressedImage"
KEY_EVERY = 30
"""Pictures from one key frame to the next: a second of them."""

_FORMAT = re.compile(r"rgb8; h264; (\d+); ([0-9a-f]{8})")
_SAMPLED = 31
"""One byte of so many is in the fingerprint: odd, and no multiple of 3, so that it meets all columns and colours."""

_OPTIONS = {"preset": "ultrafast", "tune": "zerolatency"}


def fingerprint(pixels: Any) -> str:
    """Of every 31st byte of uint8 `pixels` (n,): two pictures of a camera, whose noise is in all of them, have different ones."""
    return f"{zlib.crc32(pixels[::_SAMPLED].tobytes()):08x}"


def fingerprint_of(message: Any) -> str:
    """The fingerprint of a picture, from an Image or a CompressedImage of ours."""
    if hasattr(message, "format"):
        return _parts(message.format)[1]
    return fingerprint(np.frombuffer(message.data, np.uint8))


def require_encoder(name: str) -> None:
    """Raises ConfigError unless PyAV is there and has the encoder `name`."""
    if importlib.util.find_spec("av") is None:
        step = "pip install 'robot_stack[record]', or record with collect.codec=lossless"
        raise ConfigError(f"collect.codec: h264 needs PyAV, which is not installed; next: {step}")
    import av

    try:
        av.Codec(name, "w")
    except ValueError as error:
        allowed = "allowed libx264, or another H.264 encoder that `ffmpeg -encoders` lists"
        raise ConfigError(f"collect.encoder: found {name!r}, which this FFmpeg does not have; {allowed}") from error


class StreamEncoder:
    """Encodes the pictures of one camera, in one thread. A picture of another size begins a new stream."""

    def __init__(self, encoder: str, crf: int) -> None:
        self._encoder, self._crf = encoder, crf
        self._context: Any = None
        self._count = self._since = 0

    def encode(self, image: bytes) -> tuple[bytes, int]:
        """`image` (CDR of an Image) as CDR of a CompressedImage, and how many pictures after the key frame it is.

        Raises DataError for what is no rgb8 picture of even width and height: it cannot be halved.
        """
        message = deserialize_cdr(image, IMAGE)
        height, width = int(message.height), int(message.width)
        if message.encoding != "rgb8" or height % 2 or width % 2 or message.step != 3 * width or not height * width:
            raise DataError(f"picture: found {message.encoding} {width}x{height}, allowed rgb8 with even sides")
        pixels = np.frombuffer(message.data, np.uint8)
        packet = self._encode(pixels.reshape(height, width, 3))
        self._since = 0 if packet.is_keyframe else self._since + 1
        stated = f"rgb8; h264; {self._since}; {fingerprint(pixels)}"
        data = np.frombuffer(bytes(packet), np.uint8)
        return serialize_cdr(make(STREAMED, header=message.header, format=stated, data=data)), self._since

    def _encode(self, rgb: Any) -> Any:
        import av

        height, width, _ = rgb.shape
        if self._context is None or (self._context.height, self._context.width) != (height, width):
            self._context, self._count = self._opened(height, width), 0
        frame = av.VideoFrame.from_ndarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
        frame.pts, frame.time_base = self._count, self._context.time_base
        self._count += 1
        try:
            (packet,) = self._context.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise DataError(f"encoder {self._encoder}: gives no packet for a picture ({error}); allowed libx264") from error
        return packet

    def _opened(self, height: int, width: int) -> Any:
        import av

        context: Any = av.CodecContext.create(self._encoder, "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate, context.time_base = Fraction(KEY_EVERY), Fraction(1, KEY_EVERY)
        context.gop_size, context.max_b_frames, context.thread_count = KEY_EVERY, 0, 1
        context.options = {**_OPTIONS, "crf": str(self._crf)} if self._encoder == "libx264" else {}
        return context


class StreamDecoder:
    """Decodes one camera's pictures, in the order in which they were recorded."""

    def __init__(self) -> None:
        self._context: Any = None
        self._last = -1

    def decode(self, streamed: bytes) -> bytes | None:
        """The CDR of the Image that was encoded; None where pictures before it are missing, up to the next key frame.

        Raises DataError when the bytes are no such picture.
        """
        import av

        message = deserialize_cdr(streamed, STREAMED)
        since, _ = _parts(message.format)
        if since == 0:
            self._context = av.CodecContext.create("h264", "r")
            self._context.thread_count = 1
        elif self._context is None or since != self._last + 1:
            self._context = None
            return None
        self._last = since
        try:
            (frame,) = self._context.decode(av.Packet(bytes(message.data)))
        except (av.FFmpegError, ValueError) as error:
            raise DataError(f"picture: cannot be decoded ({error}); restore the log from a copy") from error
        rgb = cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)
        height, width, _ = rgb.shape
        pixels = np.asarray(rgb, dtype=np.uint8).reshape(-1)
        fields = {"height": height, "width": width, "encoding": "rgb8", "is_bigendian": 0, "step": 3 * width, "data": pixels}
        return serialize_cdr(make(IMAGE, header=message.header, **fields))


def _parts(stated: str) -> tuple[int, str]:
    found = _FORMAT.fullmatch(stated)
    if found is None:
        raise DataError(f"picture: found format {stated!r}, allowed 'rgb8; h264; N; CRC', as recorder_node writes it")
    return int(found[1]), found[2]
