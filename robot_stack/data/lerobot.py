"""Read LeRobotDataset v2.1 folders (meta/*.jsonl, data/*.parquet, videos/*.mp4) as Episodes.

Each video is decoded once, from its first frame to its last, and resized while decoding. Layout and field names as the
dataset's own meta/info.json gives them.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from robot_stack.data.episode import Episode
from robot_stack.data.video import decode_pictures, decode_video
from robot_stack.errors import DataError
from robot_stack.types import Array, Image

_CAMERA = "observation.images."
_NOT_COLUMNS = {"observation.state", "action", "frame_index", "episode_index", "index", "task_index"}


@dataclass(frozen=True, slots=True)
class _Dataset:
    root: Path
    info: dict[str, Any]
    tasks: dict[int, str]

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        return dict(self.info["features"])

    def path(self, template: str, episode: int, **more: str) -> Path:
        chunk = episode // int(self.info.get("chunks_size", 1000))
        return self.root / str(self.info[template]).format(episode_chunk=chunk, episode_index=episode, **more)


def read_lerobot(
    path: Path,
    episodes: Sequence[int] | None = None,
    height: int | None = None,
    width: int | None = None,
    cache: Path | None = None,
) -> list[Episode]:
    """The `episodes` (None: all) of the dataset folder `path`, their pictures resized to `height` x `width` (None: as they are).

    `cache`: a folder for decoded pictures, keyed by the bytes they came from and their size. Needs pyarrow, and av for
    videos (extra `train`). Raises DataError, naming the file, for what is missing, damaged or of another version.
    """
    dataset = _open(Path(path))
    total = int(dataset.info["total_episodes"])
    wanted = range(total) if episodes is None else episodes
    if outside := [i for i in wanted if not 0 <= i < total]:
        raise DataError(f"dataset {path}: found no episodes {outside}, allowed 0..{total - 1}")
    return [
        _episode(dataset, i, (height, width), cache)
        for i in tqdm(wanted, desc=f"reading {Path(path).name}", unit="episode", leave=False)
    ]


def _open(root: Path) -> _Dataset:
    info = json.loads(_text(root / "meta" / "info.json"))
    version = str(info.get("codebase_version"))
    if not version.startswith("v2."):
        raise DataError(f"dataset {root}: found LeRobotDataset {version}, allowed v2.0 and v2.1")
    lines = _text(root / "meta" / "tasks.jsonl").splitlines()
    tasks = [json.loads(line) for line in lines if line.strip()]
    return _Dataset(root, info, {int(t["task_index"]): str(t["task"]) for t in tasks})


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise DataError(
            f"dataset file {path}: {error.strerror}; a LeRobotDataset v2.1 folder has meta, data and videos"
        ) from error


def _episode(dataset: _Dataset, index: int, size: tuple[int | None, int | None], cache: Path | None) -> Episode:
    file = dataset.path("data_path", index)
    table = _table(file)
    names = _joint_names(dataset, "observation.state")
    if names != _joint_names(dataset, "action"):
        raise DataError(
            f"dataset {dataset.root}: observation.state and action name other joints, allowed the same in the same order"
        )
    times = _column(table, "timestamp", file).reshape(-1)
    task = int(_column(table, "task_index", file).reshape(-1)[0]) if "task_index" in table.column_names else 0
    return Episode(
        name=f"{dataset.root.name}/{index:06d}",
        rate_hz=float(dataset.info["fps"]),
        joint_names=names,
        q=_column(table, "observation.state", file),
        action=_column(table, "action", file),
        images=dict(_images(dataset, index, table, times, size, cache)),
        instruction=dataset.tasks.get(task, ""),
        columns={name: _column(table, name, file) for name in _extra_columns(dataset, table)},
    )


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise DataError(f"dataset file {path}: missing, named by meta/info.json; copy the dataset again")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"dataset file {path}: no readable parquet ({error}); copy the dataset again") from error
    if table.num_rows == 0:
        raise DataError(f"dataset file {path}: found 0 rows, allowed at least 1")
    return table


def _column(table: pa.Table, name: str, file: Path) -> Array:
    if name not in table.column_names:
        raise DataError(f"dataset file {file}: no column {name}, found {table.column_names}")
    column = table.column(name).combine_chunks()
    rows = len(column)
    flat = column.flatten() if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type) else column
    values = np.asarray(flat, dtype=np.float64)
    if values.size % rows:
        raise DataError(f"dataset file {file}: column {name} has rows of unequal length, allowed as many numbers in each")
    return values.reshape(rows, -1) if flat is not column else values


def _extra_columns(dataset: _Dataset, table: pa.Table) -> list[str]:
    numeric = {name for name, feature in dataset.features.items() if str(feature["dtype"]).startswith(("float", "int", "bool"))}
    return [name for name in table.column_names if name in numeric - _NOT_COLUMNS]


def _joint_names(dataset: _Dataset, feature: str) -> tuple[str, ...]:
    if feature not in dataset.features:
        raise DataError(f"dataset {dataset.root}: no feature {feature} in meta/info.json, found {sorted(dataset.features)}")
    found = dataset.features[feature]
    names = list(_flat(found.get("names")))
    count = int(found["shape"][0])
    return tuple(names) if len(names) == count else tuple(f"joint_{i}" for i in range(count))


def _flat(names: Any) -> Iterator[str]:
    """Names come as a list, a list of a list, or a mapping to lists."""
    if isinstance(names, str):
        yield names
    elif names is not None:
        for name in names.values() if isinstance(names, dict) else names:
            yield from _flat(name)


def _images(
    dataset: _Dataset, index: int, table: pa.Table, times: Array, size: tuple[int | None, int | None], cache: Path | None
) -> Iterator[tuple[str, Image]]:
    for name, feature in dataset.features.items():
        camera = name.removeprefix(_CAMERA)
        if feature["dtype"] == "video":
            file = dataset.path("video_path", index, video_key=name)
            yield camera, _cached(file, size, cache, times)
        elif feature["dtype"] == "image":
            packed = [row["bytes"] for row in table.column(name).to_pylist()]
            yield camera, decode_pictures(packed, f"{dataset.path('data_path', index)}: {name}", size)


def _cached(file: Path, size: tuple[int | None, int | None], cache: Path | None, times: Array) -> Image:
    if cache is None or not file.is_file():
        return decode_video(file, size, times)
    digest = hashlib.sha256(file.read_bytes() + repr((size, times.tobytes())).encode()).hexdigest()
    kept = Path(cache) / f"{digest[:32]}.npy"
    if kept.is_file():
        images: Image = np.load(kept, mmap_mode="r", allow_pickle=False)
        return images
    images = decode_video(file, size, times)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.save(stream, images)
    partial.replace(kept)
    return images
