"""Pictures out of video files and out of compressed bytes, resized while decoding."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robot_stack.errors import DataError
from robot_stack.types import Array, Image

Size = tuple[int | None, int | None]
"""(height, width), None: as it is."""


def decode_video(path: Path, size: Size, times: Array) -> Image:
    """All frames of `path`, uint8 (n, H, W, 3), one for each of `times` (n,) s; resized by area averaging.

    Needs av. Raises DataError when the file is missing or damaged, or its frames are not those of `times`.
    """
    import av  # the robot itself reads no videos

    if not path.is_file():
        raise DataError(f"video {path}: missing; copy the dataset again")
    images: Image | None = None
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                height, width = size[0] or frame.height, size[1] or frame.width
                if images is None:
                    images = np.empty((len(times), height, width, 3), np.uint8)
                if count < len(times):
                    _check_time(path, count, frame.time, times)
                    images[count] = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
                count += 1
    except (av.FFmpegError, IndexError) as error:
        raise DataError(f"video {path}: cannot be decoded after {count} frames ({error}); copy the dataset again") from error
    if images is None or count != len(times):
        raise DataError(f"video {path}: found {count} frames, allowed {len(times)}, one for each row of the episode")
    return images


def _check_time(path: Path, index: int, found: float | None, times: Array) -> None:
    """Frame and row must belong together: to half a period."""
    period = float(times[-1] - times[0]) / max(len(times) - 1, 1)
    if found is not None and abs(found - times[index]) > max(period / 2, 1e-3):
        raise DataError(
            f"video {path}: frame {index} is of {found:.3f} s, its row of {times[index]:.3f} s; allowed half a period apart"
        )


def decode_pictures(packed: Sequence[bytes], name: str, size: Size) -> Image:
    """JPEG or PNG bytes as uint8 (n, H, W, 3), resized by area averaging. Raises DataError, with `name`, for other bytes."""
    images = []
    for i, data in enumerate(packed):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise DataError(f"{name}: picture {i} is no readable JPEG or PNG ({len(data)} bytes)")
        height, width = size[0] or bgr.shape[0], size[1] or bgr.shape[1]
        if bgr.shape[:2] != (height, width):
            bgr = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
        images.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    return np.stack(images)
