"""Datasets as Episodes, what training and replay take: LeRobot v2.0, v2.1 and v3.0, and any other the catalogue knows.

Each video is decoded once, from its first frame to its last, and resized while decoding. Edits of the dataset are applied.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from robot_stack.data.catalogue import RATE_HZ, Catalogue
from robot_stack.data.episode import Episode
from robot_stack.data.picture_cache import digest_of, kept
from robot_stack.data.recording import ACTION, STATE, TIMESTAMP, Clip, Entry, Pictures, Recording
from robot_stack.data.video import Size, decode_video
from robot_stack.errors import DataError
from robot_stack.types import Image


def read_lerobot(
    path: Path,
    episodes: Sequence[int] | None = None,
    height: int | None = None,
    width: int | None = None,
    cache: Path | None = None,
    rate_hz: float = RATE_HZ,
) -> list[Episode]:
    """The `episodes` (None: all) of the dataset folder `path`, their pictures resized to `height` x `width` (None: as they are).

    `cache`: a folder for decoded pictures, keyed by the bytes they came from and their size, which then stay on the disk, mapped;
    `rate_hz`: of logs. Needs pyarrow, and av for videos (extra `train`). Raises DataError, naming the file, for what is missing,
    damaged or of another version.
    """
    catalogue = Catalogue.open(Path(path), rate_hz)
    entries = list(catalogue.entries())
    wanted = range(len(entries)) if episodes is None else episodes
    if outside := [i for i in wanted if not 0 <= i < len(entries)]:
        raise DataError(f"dataset {path}: found no episodes {outside}, allowed 0..{len(entries) - 1}")
    shown = tqdm(wanted, desc=f"reading {Path(path).name}", unit="episode", leave=False)
    return [_episode(catalogue, entries[i], (height, width), cache) for i in shown]


def _episode(catalogue: Catalogue, entry: Entry, size: Size, cache: Path | None) -> Episode:
    found = catalogue.recording(entry)
    return episode_of(replace(found, name=f"{catalogue.root.name}/{entry.name}"), size, cache)


def episode_of(found: Recording, size: Size = (None, None), cache: Path | None = None) -> Episode:
    """`found` as an Episode, its pictures decoded at `size`. Raises DataError unless state and action are the same joints."""
    for name in (STATE, ACTION):
        if name not in found.columns:
            raise DataError(f"episode {found.name}: no feature {name}, found {sorted(found.columns)}")
    names, told = _joint_names(found, STATE), _joint_names(found, ACTION)
    if names != told:
        raise DataError(
            f"episode {found.name}: {STATE} and {ACTION} name other joints ({len(names)} and {len(told)}), "
            "allowed the same in the same order: actions are where those joints should go"
        )
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in found.columns.items()}
    return Episode(
        name=found.name,
        rate_hz=found.rate_hz,
        joint_names=names,
        q=columns.pop(STATE),
        action=columns.pop(ACTION),
        images={camera: _decoded(pictures, size, cache) for camera, pictures in found.cameras.items()},
        instruction=found.task,
        columns=columns if TIMESTAMP in columns else {TIMESTAMP: found.times_s(), **columns},
        constants=found.constants,
    )


def _joint_names(found: Recording, column: str) -> tuple[str, ...]:
    """As the dataset says, or numbers."""
    return found.names.get(column) or tuple(f"joint_{i}" for i in range(found.columns[column].shape[1]))


def _decoded(pictures: Clip | Pictures, size: Size, cache: Path | None) -> Image:
    if isinstance(pictures, Clip):
        return _cached(pictures, size, cache)
    images = list(pictures)
    height, width = size[0] or images[0].shape[0], size[1] or images[0].shape[1]
    same = images[0].shape[:2] == (height, width)
    whole: Image = np.stack(images if same else [_scaled(image, width, height) for image in images])
    if cache is None:
        return whole
    return kept(Path(cache) / f"{digest_of(whole)}.npy", lambda: whole)


def _scaled(image: Image, width: int, height: int) -> Image:
    import cv2

    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _cached(clip: Clip, size: Size, cache: Path | None) -> Image:
    if cache is None or not clip.path.is_file():
        return decode_video(clip.path, size, clip.times_s)
    digest = _digest(clip.path, clip.path.stat().st_mtime_ns).copy()
    digest.update(repr((size, clip.times_s.tobytes())).encode())
    return kept(Path(cache) / f"{digest.hexdigest()[:32]}.npy", lambda: decode_video(clip.path, size, clip.times_s))


@lru_cache(maxsize=64)
def _digest(path: Path, changed_ns: int) -> "hashlib._Hash":
    """sha256 of the bytes of `path`: many episodes lie in one file, which is read once for all of them."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
