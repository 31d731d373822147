"""MJPEG over HTTP, as most cheap network cameras speak it: JPEG files, one behind the other in an answer that never ends.

There is no time in such a stream: a picture's time is its arrival, less the `delay_s` of the robot's file. Its socket is ours, so
that we know what FFmpeg would hide, whether a picture was waited for or lay in a buffer meanwhile. Of what lay there only the
newest is decoded, and it is said to be as old as it can be: it came after the buffer was emptied the last time.
"""

import re
import select
import time
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    ProxyHandler,
    build_opener,
)

from drivers.camera_capture import Picture
from drivers.opencv_camera import decoded
from robot_stack.camera_device import CameraDevice
from robot_stack.clock import nanoseconds
from robot_stack.errors import DriverError

OPEN_S, LARGEST = 3.0, 1 << 24
"""How long a camera may take to answer; the largest picture, bytes of JPEG."""
_BEGIN, _END = b"\xff\xd8\xff", b"\xff\xd9"
_WAKE_S, _PIECE = 0.1, 1 << 20


class MjpegSource:
    """The stream at `device.at` (http://[user:password@]host...). Raises DriverError when nobody serves JPEGs there.

    By https too; what is left in the decryption then is seen only when more arrives, up to one picture later.
    """

    def __init__(self, device: CameraDevice) -> None:
        self._url, self._delay_ns, self._silent_ns = shown(device.at), nanoseconds(device.delay_s), nanoseconds(device.silent_s)
        try:
            self._answer = _ask(device.at)
        except (OSError, HTTPException, ValueError) as error:
            raise DriverError(f"{self._url}: cannot be opened ({error}); is it plugged in and started?") from error
        if (kind := self._answer.headers.get_content_maintype()) != "multipart":
            self._answer.close()
            raise DriverError(f"{self._url}: found an answer of type {kind}, allowed multipart; start with kind: rtsp for others")
        self._kept, self._emptied_ns = b"", time.monotonic_ns()

    def next(self) -> Picture | None:
        """The newest picture, or None after 0.1 s without. Raises DriverError when the camera hangs up."""
        waited = not self._pending(0.0)
        if waited and not self._pending(_WAKE_S):
            self._emptied_ns = time.monotonic_ns()
            return None
        earliest_ns = self._empty() + 1
        if not waited and self._emptied_ns - earliest_ns > self._silent_ns:
            raise DriverError(
                f"{self._url}: nobody looked for {(self._emptied_ns - earliest_ns) / 1e9:.1f} s, its pictures are old"
            )
        jpeg, self._kept = newest_jpeg(self._kept)
        if jpeg is None:
            return None
        return (self._emptied_ns if waited else earliest_ns) - self._delay_ns, decoded(jpeg, self._url)

    def close(self) -> None:
        """Hang up."""
        self._answer.close()

    def _pending(self, wait_s: float) -> bool:
        return bool(select.select([self._answer], [], [], wait_s)[0])

    def _empty(self) -> int:
        """Read all there is; returns when that was done the last time. Raises DriverError at the end of the stream."""
        while self._pending(0.0):
            try:
                piece = self._answer.read1(_PIECE)
            except (OSError, HTTPException) as error:
                raise DriverError(f"{self._url}: {error}; is the camera running?") from error
            self._kept += piece
            if not piece or len(self._kept) > LARGEST + _PIECE:
                why = f"no JPEG in {LARGEST} bytes" if piece else "the camera hung up"
                raise DriverError(f"{self._url}: {why}; is it running?")
        before_ns, self._emptied_ns = self._emptied_ns, time.monotonic_ns()
        return before_ns


def newest_jpeg(stream: bytes) -> tuple[bytes | None, bytes]:
    """The last whole JPEG in `stream` (None: none yet), and what comes behind it."""
    end = stream.rfind(_END)
    begin = stream.rfind(_BEGIN, 0, end) if end > 0 else -1
    return (None, stream) if begin < 0 else (stream[begin : end + 2], stream[end + 2 :])


def shown(url: str) -> str:
    """`url` without its password."""
    return re.sub(r"//[^/@]*@", "//", url)


def _ask(url: str) -> Any:
    """The answer to a GET of `url`, never through a proxy."""
    parts, passwords = urlsplit(url), HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, shown(url), parts.username, parts.password or "")
    opener = build_opener(ProxyHandler({}), HTTPBasicAuthHandler(passwords), HTTPDigestAuthHandler(passwords))
    return opener.open(shown(url), timeout=OPEN_S)
