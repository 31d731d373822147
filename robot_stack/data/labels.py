"""Labels: columns worked out after an episode was recorded. They lie beside the dataset, one parquet file an episode and run of a
labeller, and are put to its columns whenever it is read; the journal of edits (`edits.py`) says which runs count, in which order.

A file's `at` (n,) says where its rows are: the robot's clock (ns) where the episode has one, as the rows of a log depend on the
rate it is sampled at; else the row's number in the dataset as it lies on the disk. A row takes the newest label at or before it,
so labels made at one rate, or before an edit, are right at another and after it.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from robot_stack.data.recording import ROW_NS, Entry, Recording, row_of
from robot_stack.data.whole_file import whole
from robot_stack.errors import DataError

AT, INSTRUCTION = "at", "instruction"
"""The column with the place of each row; and the label that is the episode's task from then on."""

Labels = Mapping[str, NDArray[Any] | bool | int | float | str]
"""By name: an array (n,) or (n, D) is a column; anything else is said once of the whole episode and comes to its `constants`."""

_ABOUT = b"robot_stack"


def labels_folder(root: Path) -> Path:
    """Where the runs of labellers on the dataset `root` lie: in its folder, or beside a dataset that is one file."""
    return root / "labels" if root.is_dir() else root.with_name(root.name + ".labels")


def label_file(run: str, episode: str) -> str:
    """The file with the labels of `episode` by `run`, below `labels_folder`."""
    return f"{run}/{quote(episode, safe=' ')}.parquet"


def rows_at(found: Recording, entry: Entry) -> NDArray[np.int64]:
    """`at` of each row of `found` (n,), what edits left of `entry`."""
    if ROW_NS in found.columns:
        return np.asarray(found.columns[ROW_NS], dtype=np.int64)
    return row_of(entry.start_s, found.rate_hz * entry.stride) + entry.stride * np.arange(len(found), dtype=np.int64)


def write_labels(file: Path, labels: Labels, at: NDArray[np.int64], about: Mapping[str, Any]) -> None:
    """Write `labels` of the rows `at` and what they were made from; the same arguments give the same bytes. All or nothing.

    Raises DataError where the disk refuses it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    scalars = {name: value for name, value in labels.items() if not isinstance(value, np.ndarray)}
    columns = {AT: pa.array(at)} | {name: _arrow(v) for name, v in labels.items() if isinstance(v, np.ndarray)}
    text = json.dumps({**about, "scalars": scalars}, sort_keys=True)
    table = pa.table(columns).replace_schema_metadata({_ABOUT: text.encode()})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as partial:
            pq.write_table(table, partial, compression="zstd")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; the dataset and its earlier labels are as they were") from error


def _arrow(values: NDArray[Any]) -> Any:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def read_labels(file: Path) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The labels in `file` and `at` of their rows. Raises DataError naming the file where it is damaged."""
    from robot_stack.data.parquet_rows import table_of, values_of

    table = table_of(file)
    columns = {name: values_of(table, name, file) for name in table.column_names}
    at = columns.pop(AT)
    return columns | _about(table.schema, file)["scalars"], at


def about_of(file: Path) -> dict[str, Any] | None:
    """What the labels in `file` were made from, as given to `write_labels`; None where it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = _about(pq.read_schema(file), file)
    except (OSError, pa.ArrowException, DataError):
        return None
    del about["scalars"]
    return about


def _about(schema: Any, file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(schema.metadata[_ABOUT])
        return found
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{file}: no labels of robot_stack ({error!r}); `robot-stack relabel` writes them again") from error


def with_labels(found: Recording, files: Iterable[Path], wanted: Collection[str] | None = None) -> Recording:
    """`found`, whole as it lies on the disk, with the labels of `files` (`wanted`: only those); later files win, missing ones
    have none to give. Raises DataError where a file is damaged, or its rows are not of this recording."""
    columns, constants = dict(found.columns), dict(found.constants)
    here = np.asarray(found.columns.get(ROW_NS, np.arange(len(found))), dtype=np.int64)
    for file in files:
        if not file.is_file():
            continue
        labels, at = read_labels(file)
        if not here[0] <= at[0] <= here[-1]:
            raise DataError(
                f"{file}: labels from {at[0]} on, allowed {here[0]}..{here[-1]}: the episode was recorded anew; "
                "next: run the labeller again"
            )
        newest = np.maximum(np.searchsorted(at, here, side="right") - 1, 0)
        for name in labels if wanted is None else labels.keys() & set(wanted):
            value = labels[name]
            if isinstance(value, np.ndarray):
                columns[name] = value[newest]
            else:
                constants[name] = value
    return replace(found, columns=columns, constants=constants)
