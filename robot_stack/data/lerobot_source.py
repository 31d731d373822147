"""LeRobotDataset folders of v2.0, v2.1 and v3.0 as a `Source`: layout as the dataset's own meta/info.json says.

v2.1 has one parquet and one video file an episode and its index in meta/*.jsonl; v3.0 packs many episodes into each file and has
its index in meta/episodes/*/*.parquet, with the place of each episode in them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robot_stack.data.parquet_rows import batches_of, length_of, rows_between, table_of, values_of
from robot_stack.data.recording import ACTION, STATE, TIMESTAMP, Clip, Entry, Pictures, Recording
from robot_stack.data.video import decode_picture
from robot_stack.errors import DataError
from robot_stack.size_limits import parse_json, read_text
from robot_stack.types import Array

CAMERA = "observation.images."
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
"""Columns that only count; every writer makes them anew."""

NEAR = 256
"""Rows of the index of v3 that are read at once."""

OURS = "robot_stack"
"""Key of what we add to an index for the way back: a JSON text with each episode, an object in meta/info.json."""


@dataclass(frozen=True)
class LeRobotSource:
    """The dataset folder `root`. Raises DataError, naming the file, for what is missing, damaged or of another version."""

    root: Path

    @cached_property
    def info(self) -> dict[str, Any]:
        """meta/info.json."""
        file = self.root / "meta" / "info.json"
        try:
            found: dict[str, Any] = parse_json(text_of(file))
            version, _, _ = str(found["codebase_version"]), float(found["fps"]), found["features"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"dataset file {file}: found {error!r}, allowed JSON with codebase_version, fps, features") from error
        if not version.startswith(("v2.", "v3.")):
            raise DataError(f"dataset {self.root}: found LeRobotDataset {version}, allowed v2.0, v2.1 and v3.0")
        return found

    @property
    def kind(self) -> str:
        """Its format, as people name it."""
        return f"LeRobot {self.info['codebase_version']}"

    @property
    def packed(self) -> bool:
        """v3: many episodes a file."""
        return str(self.info["codebase_version"]).startswith("v3.")

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """What each row has, by name."""
        return dict(self.info["features"])

    @cached_property
    def tasks(self) -> dict[int, str]:
        """The instructions, by task_index."""
        if not self.packed:
            return {int(t["task_index"]): str(t["task"]) for t in json_lines(self.root / "meta" / "tasks.jsonl")}
        file = self.root / "meta" / "tasks.parquet"
        table = table_of(file)
        words = next((c for c in ("task", "__index_level_0__") if c in table.column_names), None)
        if words is None:
            raise DataError(f"dataset file {file}: found columns {table.column_names}, allowed task_index and task")
        return dict(zip(values_of(table, "task_index", file).tolist(), table.column(words).to_pylist(), strict=True))

    def entries(self) -> Iterator[Entry]:
        """All episodes in the order of their index; the note says which of their files are missing."""
        checked: dict[Path, bool] = {}
        for row in self._index():
            index = int(row["episode_index"])
            missing = [path for path in self._files(row) if not checked.setdefault(path, path.is_file())]
            if not self.packed:
                checked.clear()
            note = "; ".join(f"{path.relative_to(self.root)}: missing" for path in missing)
            task = str((row.get("tasks") or [""])[0])
            name = _ours(row).get("name") or f"{index:06d}"
            yield Entry(name, self.root, str(index), int(row["length"]), float(self.info["fps"]), task, note=note)

    def recording(self, key: str) -> Recording:
        """The episode with index `key`; string columns are left out."""
        row = self._row(int(key))
        file, *_ = self._files(row)
        table = self._rows(row, file)
        columns = {name: values_of(table, name, file) for name in self._numeric(table)}
        columns |= {name: columns[name].reshape(table.num_rows, -1) for name in (STATE, ACTION) if name in columns}
        times = np.asarray(columns.get(TIMESTAMP, np.arange(table.num_rows) / float(self.info["fps"])), dtype=np.float64)
        return Recording(
            name=_ours(row).get("name") or f"{int(key):06d}",
            rate_hz=float(self.info["fps"]),
            columns=columns,
            names={name: found for name in columns if (found := self._names(name))},
            cameras=dict(self._cameras(row, table, times.reshape(-1))),
            task=self._task(row, table, file),
            robot=str(self.info.get("robot_type") or ""),
            constants=_ours(row).get("constants", {}),
            about=self.info.get(OURS, {}),
        )

    def _index(self) -> Iterator[dict[str, Any]]:
        if not self.packed:
            yield from self._lines()
            return
        wanted = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index", OURS]
        wanted += [f"videos/{key}/{part}" for key in self._videos() for part in ("chunk_index", "file_index")]
        for file in self._index_files:
            for batch in batches_of(file, wanted):
                yield from batch.to_pylist()

    @cached_property
    def _index_files(self) -> list[Path]:
        """Of v3."""
        found = sorted((self.root / "meta" / "episodes").glob("*/*.parquet"))
        if not found:
            raise DataError(f"dataset {self.root}: found no meta/episodes/chunk-*/file-*.parquet; copy the dataset again")
        return found

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The index of v2; where its file is missing, what meta/info.json and the parquet files say."""
        file = self.root / "meta" / "episodes.jsonl"
        if file.is_file():
            yield from json_lines(file)
            return
        for index in range(int(self.info.get("total_episodes", 0))):
            place = self._files({"episode_index": index})[0]
            yield {"episode_index": index, "length": length_of(place) if place.is_file() else 0}

    @cached_property
    def _by_index(self) -> dict[int, dict[str, Any]]:
        """The index of v2, which has no other order than that of its lines."""
        return {int(row["episode_index"]): row for row in self._lines()}

    def _row(self, index: int) -> dict[str, Any]:
        if not self.packed:
            if index not in self._by_index:
                raise DataError(f"dataset {self.root}: found no episode {index} in its index of {len(self._by_index)}")
            return self._by_index[index]
        if index not in self._near:
            self._near.clear()
            self._near.update({int(row["episode_index"]): row for row in self._following(index)})
        return self._near[index]

    @cached_property
    def _near(self) -> dict[int, dict[str, Any]]:
        """Some rows of the index of v3: the last that were asked for, and those after."""
        return {}

    def _following(self, index: int) -> list[dict[str, Any]]:
        for file in self._index_files:
            try:
                table = rows_between(file, "episode_index", index, index + NEAR)
            except DataError as error:
                wrong = error
                continue
            if table.column("episode_index")[0].as_py() == index:
                found: list[dict[str, Any]] = table.select([c for c in table.column_names if "stats/" not in c]).to_pylist()
                return found
            wrong = DataError(f"dataset {self.root}: found no episode {index} in its index")
        raise wrong

    def _files(self, row: dict[str, Any]) -> list[Path]:
        """Of an episode: its parquet file first, then its videos."""
        index = int(row["episode_index"])
        old = {"episode_chunk": index // int(self.info.get("chunks_size", 1000)), "episode_index": index}
        place = {"chunk_index": row.get("data/chunk_index"), "file_index": row.get("data/file_index")} if self.packed else old
        files = [self.root / str(self.info["data_path"]).format(**place)]
        for key in self._videos():
            if self.packed:
                place = {part: row[f"videos/{key}/{part}"] for part in ("chunk_index", "file_index")}
            files.append(self.root / str(self.info["video_path"]).format(video_key=key, **place))
        return files

    def _rows(self, row: dict[str, Any], file: Path) -> pa.Table:
        if not self.packed:
            return table_of(file)
        table = rows_between(file, "index", int(row["dataset_from_index"]), int(row["dataset_to_index"]))
        if table.num_rows != int(row["length"]):
            found = f"{table.num_rows} rows of episode {row['episode_index']}"
            raise DataError(f"dataset file {file}: found {found}, allowed {row['length']} as the index says; copy it again")
        return table

    def _videos(self) -> list[str]:
        return [name for name, feature in self.features.items() if feature["dtype"] == "video"]

    def _numeric(self, table: pa.Table) -> list[str]:
        kinds = ("float", "int", "uint", "bool")
        named = {name for name, feature in self.features.items() if str(feature["dtype"]).startswith(kinds)}
        required = [name for name in (STATE, ACTION) if name in named]
        return required + [n for n in table.column_names if n in named and n not in (*COUNTERS, *required)]

    def _names(self, column: str) -> tuple[str, ...]:
        feature = self.features[column]
        width = int(np.prod(feature["shape"]))
        found = tuple(_flat(feature.get("names")))
        return found if len(found) == width else ()

    def _cameras(self, row: dict[str, Any], table: pa.Table, times: Array) -> Iterator[tuple[str, Clip | Pictures]]:
        for key, path in zip(self._videos(), self._files(row)[1:], strict=True):
            start = float(row[f"videos/{key}/from_timestamp"]) if self.packed else 0.0
            yield key.removeprefix(CAMERA), Clip(path, start + times)
        for name, feature in self.features.items():
            if feature["dtype"] == "image":
                yield name.removeprefix(CAMERA), _packed_pictures(table.column(name), f"dataset {self.root}: {name}")

    def _task(self, row: dict[str, Any], table: pa.Table, file: Path) -> str:
        if "task_index" not in table.column_names:
            return str((row.get("tasks") or [""])[0])
        return self.tasks.get(int(values_of(table, "task_index", file).reshape(-1)[0]), "")


def _ours(row: dict[str, Any]) -> dict[str, Any]:
    """What we added to the index of an episode: its `name` and `constants`."""
    found: dict[str, Any] = json.loads(row.get(OURS) or "{}")
    return found


def text_of(path: Path) -> str:
    """The text of a file of a dataset. Raises DataError naming it."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise DataError(f"dataset file {path}: {why}; a LeRobotDataset folder has meta, data and videos") from error


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a .jsonl file, one at a time. Raises DataError naming the file and the line."""
    if not path.is_file():
        text_of(path)
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield parse_json(line)
                except ValueError as error:
                    raise DataError(f"dataset file {path}: line {number} is no JSON ({error}); copy it again") from error


def _flat(names: Any) -> Iterator[str]:
    """Names come as a list, a list of a list, or a mapping to lists."""
    if isinstance(names, str):
        yield names
    elif names is not None:
        for name in names.values() if isinstance(names, dict) else names:
            yield from _flat(name)


def _packed_pictures(column: Any, name: str) -> Pictures:
    def read() -> Iterator[Any]:
        for i, row in enumerate(column):
            yield decode_picture(row.as_py()["bytes"], f"{name}: picture {i}")

    return Pictures(read, range(len(column)))
