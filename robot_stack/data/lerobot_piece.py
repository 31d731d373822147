"""One episode made ready for a LeRobot dataset: its rows as a parquet file, its videos, its features and statistics.

Pieces do not know of each other, so they can be made anywhere and in any number of processes; `lerobot_write` puts them together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robot_stack.data.lerobot_source import CAMERA
from robot_stack.data.recording import TIMESTAMP, Clip, Recording
from robot_stack.data.remux import Track, copy_clip, count_pictures, track_of
from robot_stack.data.statistics import Moments
from robot_stack.data.video import decode_video, encode_video
from robot_stack.errors import DataError
from robot_stack.types import Array

SAMPLES = 6
"""Pictures of an episode whose colours go into the statistics."""

CODECS = {"h264": "h264", "av1": "av1", "libdav1d": "av1", "hevc": "hevc"}


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A video file of one episode: its first picture comes at `start_s`; `psnr_db` is inf where packets were copied."""

    path: Path
    track: Track
    start_s: float
    psnr_db: float


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One episode on disk, `rows` long. `features` as meta/info.json has them, without the counters."""

    name: str
    rows: int
    rate_hz: float
    task: str
    robot: str
    table: Path
    films: Mapping[str, Film]
    features: Mapping[str, Any]
    moments: Mapping[str, Moments]
    constants: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def columns(self) -> list[str]:
        """The features that are columns of its parquet file."""
        return [name for name, feature in self.features.items() if feature["dtype"] != "video"]


def write_piece(found: Recording, folder: Path, codec: str) -> Piece:
    """Write `found` into the new `folder`. Video packets are copied, other pictures are encoded with `codec`.

    Raises DataError, naming the file, where a video is missing or damaged, or has fewer pictures than rows, or the disk is full.
    """
    folder.mkdir(parents=True)
    even = (np.arange(len(found)) / found.rate_hz).astype(np.float32)
    columns = {name: v for name, v in found.columns.items() if name != TIMESTAMP}
    columns[TIMESTAMP] = found.columns.get(TIMESTAMP, even)
    films = {f"{CAMERA}{name}": _film(found, name, folder, codec) for name in found.cameras}
    features = {name: _feature(v, found.names.get(name)) for name, v in columns.items()}
    features |= {key: _video_feature(film, found.rate_hz) for key, film in films.items()}
    moments = {name: Moments.of(values) for name, values in columns.items()} | dict(_colours(films, found))
    file = folder / "rows.parquet"
    try:
        pq.write_table(pa.table({name: _arrow(values) for name, values in columns.items()}), file)
    except OSError as error:
        raise DataError(f"dataset file {file}: {error.strerror or error}; free some space, the source is as it was") from error
    rate, robot, constants = found.rate_hz, found.robot, found.constants
    return Piece(found.name, len(found), rate, found.task, robot, file, films, features, moments, constants, found.about)


def _film(found: Recording, camera: str, folder: Path, codec: str) -> Film:
    pictures, path = found.cameras[camera], folder / f"{camera}.mp4"
    if isinstance(pictures, Clip):
        start_s = copy_clip(pictures, path)
        needed, there = len(pictures), count_pictures(path)
        if there < needed:
            raise DataError(f"video {pictures.path}: found {there} frames for {needed} rows; copy the dataset again")
        return Film(path, track_of(path), start_s, float("inf"))
    count, psnr = encode_video(pictures, path, found.rate_hz, codec)
    if count != len(found):
        raise DataError(f"episode {found.name}: {camera} has {count} pictures for {len(found)} rows; is the log damaged?")
    return Film(path, track_of(path), 0.0, psnr)


def _colours(films: Mapping[str, Film], found: Recording) -> Iterator[tuple[str, Moments]]:
    """Of each channel (r, g, b), 0..1, over SAMPLES pictures of each camera."""
    for key, film in films.items():
        times = film.start_s + _seconds(film, found)[np.linspace(0, len(found) - 1, min(SAMPLES, len(found))).astype(int)]
        pixels = np.concatenate([decode_video(film.path, (None, None), times[i : i + 1]) for i in range(len(times))])
        found_in = Moments.of(pixels.reshape(-1, 3) / 255.0)
        scale = len(times) / found_in.count
        yield key, replace(found_in, count=found_in.count * scale, squares=found_in.squares * scale)


def _seconds(film: Film, found: Recording) -> Array:
    pictures = found.cameras[film.path.stem]
    return pictures.times_s - pictures.times_s[0] if isinstance(pictures, Clip) else np.arange(len(found)) / found.rate_hz


def _feature(values: NDArray[Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    width = int(np.prod(values.shape[1:], dtype=int))
    return {"dtype": str(values.dtype), "shape": [width], "names": list(names) if names else None}


def _video_feature(film: Film, rate_hz: float) -> dict[str, Any]:
    track = film.track
    about = {
        "height": track.height,
        "width": track.width,
        "codec": CODECS.get(track.codec, track.codec),
        "pix_fmt": track.pix_fmt,
    }
    about |= {"is_depth_map": False, "fps": number(rate_hz), "channels": 3}
    info = {f"video.{name}": value for name, value in about.items()} | {"has_audio": False}
    return {"dtype": "video", "shape": [track.height, track.width, 3], "names": ["height", "width", "channels"], "info": info}


def number(value: float) -> float | int:
    """`value`, whole where it is."""
    return int(value) if value == int(value) else value


def _arrow(values: NDArray[Any]) -> pa.Array:
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    if flat.shape[1] == 1:
        return pa.array(flat[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
