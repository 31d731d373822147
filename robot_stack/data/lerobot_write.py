"""Pieces put together as a LeRobotDataset folder: v2.1 (one file an episode) or v3.0 (files of many episodes)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robot_stack.data.lerobot_piece import Film, Piece, number
from robot_stack.data.lerobot_source import OURS
from robot_stack.data.recording import Clip
from robot_stack.data.remux import ClipWriter, Track, copy_alone
from robot_stack.data.statistics import Moments, merged

V21, V30 = "v2.1", "v3.0"
FILES_PER_CHUNK, DATA_MB, VIDEO_MB = 1000, 100, 200
"""LeRobot's own limits."""

GROUP_ROWS, INDEX_ROWS = 16384, 1000
"""Rows, and episodes of the index, that are held back until they are written together."""

INDEX_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

PATHS = {
    V21: (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
    V30: (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    ),
}
_COUNTERS = {
    name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index", "index", "task_index")
}


@dataclass
class _Totals:
    """What is known of the dataset so far."""

    first: Piece | None = None
    episodes: int = 0
    frames: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)

    def add(self, piece: Piece) -> pa.Table:
        """Count `piece` in; its rows with counters. Raises DataError when it does not fit to the first one."""
        first = self.first = self.first or piece
        task = self.tasks.setdefault(piece.task, len(self.tasks))
        rows = pq.read_table(piece.table)
        counters = {
            "frame_index": np.arange(piece.rows),
            "episode_index": np.full(piece.rows, self.episodes),
            "index": np.arange(self.frames, self.frames + piece.rows),
            "task_index": np.full(piece.rows, task),
        }
        for name, values in counters.items():
            rows = rows.append_column(name, pa.array(values, pa.int64()))
        self.moments = merged(self.moments, piece.moments)
        self.episodes, self.frames = self.episodes + 1, self.frames + piece.rows
        return rows.select([*first.columns, *counters])


def fits(first: Piece, piece: Piece) -> str:
    """Why `piece` cannot lie in one dataset with `first`; empty: it can."""
    if piece.rate_hz != first.rate_hz:
        return f"{piece.rate_hz:g} rows/s, allowed {first.rate_hz:g} as in {first.name}"
    ours, theirs = ({n: (f["dtype"], f["shape"]) for n, f in p.features.items()} for p in (piece, first))
    return "" if ours == theirs else f"columns {_differs(ours, theirs)}, allowed those of {first.name}"


def _differs(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    names = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {ours.get(name, 'missing')} against {theirs.get(name, 'none')}" for name in names)


def write_v21(pieces: Iterable[Piece], out: Path) -> None:
    """The dataset of `pieces` in the folder `out`; videos are moved or, where they begin within, copied with an edit list."""
    totals, (data_path, video_path) = _Totals(), PATHS[V21]
    (out / "meta").mkdir(parents=True, exist_ok=True)
    with (out / "meta/episodes.jsonl").open("w") as episodes, (out / "meta/episodes_stats.jsonl").open("w") as stats:
        for piece in pieces:
            index = totals.episodes
            place = {"episode_chunk": index // FILES_PER_CHUNK, "episode_index": index}
            rows = totals.add(piece)
            pq.write_table(rows, _made(out / data_path.format(**place)))
            for key, film in piece.films.items():
                times = np.array([film.start_s, film.start_s + (piece.rows - 1) / piece.rate_hz])
                copy_alone(Clip(film.path, times), _made(out / video_path.format(video_key=key, **place)))
                film.path.unlink()
            line = {"episode_index": index, "tasks": [piece.task], "length": piece.rows, OURS: _ours(piece)}
            episodes.write(json.dumps(line) + "\n")
            stats.write(json.dumps({"episode_index": index, "stats": _stats(piece, piece.moments)}) + "\n")
    lines = [json.dumps({"task_index": i, "task": task}) for task, i in totals.tasks.items()]
    (out / "meta/tasks.jsonl").write_text("\n".join(lines) + "\n")
    _finish(out, V21, totals)


def write_v30(pieces: Iterable[Piece], out: Path) -> None:
    """The dataset of `pieces` in the folder `out`; videos of one encoding are strung together without decoding them."""
    totals, index, films = _Totals(), _Index(out), _Films(out)
    data = _Rows(str(out / PATHS[V30][0]), "data", GROUP_ROWS)
    for piece in pieces:
        begin, rows = totals.frames, totals.add(piece)
        row = {"episode_index": totals.episodes - 1, "tasks": [piece.task], "length": piece.rows}
        row |= {"dataset_from_index": begin, "dataset_to_index": totals.frames} | data.room(rows.nbytes)
        data.put(rows)
        for key, film in piece.films.items():
            row |= films.add(key, film, piece)
        row |= {f"stats/{name}/{k}": v for name, found in _stats(piece, piece.moments).items() for k, v in found.items()}
        index.add(row | {OURS: _ours(piece)})
    for part in (films, data, index):
        part.close()
    table = pa.table({"task_index": pa.array(totals.tasks.values(), pa.int64()), "task": pa.array(totals.tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(_PANDAS)}), out / "meta/tasks.parquet")
    _finish(out, V30, totals)


_PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
        {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ],
}
"""What makes pandas take the tasks themselves as the index of their table: LeRobot looks them up by it."""


@dataclass
class _Numbered:
    """Which file is being written, and how full it is."""

    number: int = 0
    size: int = 0

    def next(self) -> None:
        """Begin the next file."""
        self.number, self.size = self.number + 1, 0

    def place(self, prefix: str) -> dict[str, int]:
        """As the index has it."""
        return {f"{prefix}/chunk_index": self.number // FILES_PER_CHUNK, f"{prefix}/file_index": self.number % FILES_PER_CHUNK}


class _Rows:
    """Parquet files `pattern` of at most DATA_MB each; tables are gathered to row groups of at least `least` rows."""

    def __init__(self, pattern: str, prefix: str, least: int) -> None:
        self._pattern, self._prefix, self._least = pattern, prefix, least
        self._file, self._count = _Numbered(), 0
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def room(self, size: int) -> dict[str, int]:
        """Where the next rows, `size` bytes of them, will lie."""
        if self._file.size + size > DATA_MB * 2**20 and self._file.size:
            self.close()
            self._file.next()
        self._file.size += size
        return self._file.place(self._prefix)

    def put(self, rows: pa.Table) -> None:
        """Take `rows`."""
        self._waiting.append(rows)
        self._count += rows.num_rows
        if self._count >= self._least:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            place = {name.rpartition("/")[2]: value for name, value in self._file.place(self._prefix).items()}
            self._writer = pq.ParquetWriter(_made(Path(self._pattern.format(**place))), table.schema)
        self._writer.write_table(table)
        self._waiting, self._count = [], 0


class _Index:
    """meta/episodes: one row an episode, written INDEX_ROWS at a time."""

    def __init__(self, out: Path) -> None:
        self._rows = _Rows(str(out / INDEX_PATH), "meta/episodes", 1)
        self._waiting: list[dict[str, Any]] = []
        self._schema: pa.Schema | None = None

    def add(self, row: dict[str, Any]) -> None:
        """Take the row of one episode."""
        self._waiting.append(row)
        if len(self._waiting) >= INDEX_ROWS:
            self._write()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        if self._waiting:
            self._write()
        self._rows.close()

    def _write(self) -> None:
        table = pa.Table.from_pylist(self._waiting, self._schema)
        self._schema, self._waiting = table.schema, []
        for name, value in self._rows.room(table.nbytes).items():
            table = table.append_column(name, pa.array(np.full(table.num_rows, value), pa.int64()))
        self._rows.put(table)


class _Films:
    """The videos of all cameras; a film that is encoded otherwise than the one before it begins a new file."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._files: dict[str, _Numbered] = {}
        self._open: dict[str, tuple[ClipWriter, Track]] = {}

    def add(self, key: str, film: Film, piece: Piece) -> dict[str, Any]:
        """Append the film of one episode and delete its file; returns where it lies."""
        file, size = self._files.setdefault(key, _Numbered()), film.path.stat().st_size
        writer, track = self._open.get(key, (None, None))
        if writer is not None and (track != film.track or file.size + size > VIDEO_MB * 2**20):
            writer.close()
            file.next()
            writer = None
        place = file.place(f"videos/{key}")
        if writer is None:
            numbers = {name.rpartition("/")[2]: value for name, value in place.items()}
            writer = ClipWriter(_made(self._out / PATHS[V30][1].format(video_key=key, **numbers)))
            self._open[key] = (writer, film.track)
        file.size += size
        seconds = (piece.rows - 1) / piece.rate_hz
        start_s = writer.add(Clip(film.path, np.array([film.start_s, film.start_s + seconds])))
        film.path.unlink()
        times = {"from_timestamp": start_s, "to_timestamp": start_s + piece.rows / piece.rate_hz}
        return {**place, **{f"videos/{key}/{name}": time_s for name, time_s in times.items()}}

    def close(self) -> None:
        """Write the ends of the files."""
        for writer, _ in self._open.values():
            writer.close()


def _ours(piece: Piece) -> str:
    return json.dumps({"name": piece.name, "constants": dict(piece.constants)})


def _stats(piece: Piece, moments: Mapping[str, Moments]) -> dict[str, dict[str, Any]]:
    """By column and kind, lists; of a camera (3, 1, 1), as LeRobot has them."""
    found: dict[str, dict[str, Any]] = {}
    for name, part in moments.items():
        lists = part.as_lists()
        video = piece.features.get(name, {}).get("dtype") == "video"
        found[name] = {k: [[[v]] for v in values] if video and k != "count" else values for k, values in lists.items()}
    return found


def _finish(out: Path, version: str, totals: _Totals) -> None:
    """meta/info.json, and in v3 the statistics of the whole."""
    first = totals.first
    assert first is not None, "a dataset has at least one episode"
    videos = [name for name, feature in first.features.items() if feature["dtype"] == "video"]
    info: dict[str, Any] = {"codebase_version": version, "robot_type": first.robot or None}
    info |= {"total_episodes": totals.episodes, "total_frames": totals.frames, "total_tasks": len(totals.tasks)}
    if version == V21:
        chunks = -(-totals.episodes // FILES_PER_CHUNK)
        info |= {"total_videos": totals.episodes * len(videos), "total_chunks": chunks, "chunks_size": FILES_PER_CHUNK}
    else:
        info |= {"chunks_size": FILES_PER_CHUNK, "data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB}
        (out / "meta/stats.json").write_text(json.dumps(_stats(first, totals.moments)))
    info |= {"fps": number(first.rate_hz), "splits": {"train": f"0:{totals.episodes}"}}
    info |= {"data_path": PATHS[version][0], "video_path": PATHS[version][1] if videos else None}
    info["features"] = {**first.features, **_COUNTERS}
    if first.about:
        info[OURS] = dict(first.about)
    (out / "meta/info.json").write_text(json.dumps(info, indent=4, ensure_ascii=False))


def _made(path: Path) -> Path:
    """`path`, in a folder that exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
