"""Rows of a parquet file by the value of a sorted column, in constant memory: only the row groups that hold them are read."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robot_stack.errors import DataError

BATCH_ROWS = 1024


def table_of(path: Path) -> pa.Table:
    """The whole file. Raises DataError when it is missing, damaged or empty."""
    file = _opened(path)
    try:
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    if table.num_rows == 0:
        raise DataError(f"dataset file {path}: found 0 rows, allowed at least 1")
    return table


def rows_between(path: Path, column: str, low: int, high: int) -> pa.Table:
    """The rows whose `column` is `low` or more and less than `high`; the column must not fall. Raises DataError as `table_of`."""
    stat = path.stat() if path.is_file() else None
    stamp = (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
    least, most = _bounds(path, stamp, column)
    found = []
    for number in np.flatnonzero((most >= low) & (least < high)):
        group = _group(path, stamp, int(number))
        values = group.column(column).to_numpy()
        begin, end = np.searchsorted(values, (low, high))
        found.append(group.slice(begin, end - begin))
    if not sum(part.num_rows for part in found):
        raise DataError(
            f"dataset file {path}: found no row with {column} in {low}..{high - 1}, named by the index; copy it again"
        )
    return pa.concat_tables(found)


def length_of(path: Path) -> int:
    """How many rows the file has, 0 when it cannot be read."""
    try:
        return int(_opened(path).metadata.num_rows)
    except DataError:
        return 0


def batches_of(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """`columns` of the file, BATCH_ROWS rows at a time. Raises DataError as `table_of`."""
    file = _opened(path)
    try:
        yield from file.iter_batches(BATCH_ROWS, columns=[c for c in columns if c in file.schema_arrow.names])
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def values_of(table: pa.Table, name: str, path: Path) -> NDArray[Any]:
    """A column as an array in its own type, (n,) or (n, width). Raises DataError when it is missing, ragged or has gaps."""
    if name not in table.column_names:
        raise DataError(f"dataset file {path}: no column {name}, found {table.column_names}")
    column = table.column(name).combine_chunks()
    rows = len(column)
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type.value_type)
    nested = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
    flat = column.flatten() if nested else column
    if flat.null_count or (nested and column.null_count):
        raise DataError(f"dataset file {path}: column {name} has rows without a value, allowed a number in each")
    values = np.asarray(flat.to_numpy(zero_copy_only=False))
    if rows and values.size % rows:
        raise DataError(f"dataset file {path}: column {name} has rows of unequal length, allowed as many numbers in each")
    return values.reshape(rows, -1) if nested else values


def _opened(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise DataError(f"dataset file {path}: missing, named by meta/info.json; copy the dataset again")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"dataset file {path}: no readable parquet ({error}); copy the dataset again")


@lru_cache(maxsize=64)
def _bounds(path: Path, stamp: tuple[int, int], column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The least and greatest `column` of each row group; unknown ones are taken to be anything."""
    file = _opened(path)
    place = file.schema_arrow.names.index(column) if column in file.schema_arrow.names else -1
    if place < 0:
        raise DataError(f"dataset file {path}: no column {column}, found {file.schema_arrow.names}")
    leaf = next(i for i in range(file.metadata.num_columns) if file.metadata.schema.column(i).path == column)
    stats = [file.metadata.row_group(k).column(leaf).statistics for k in range(file.metadata.num_row_groups)]
    known = [s is not None and s.has_min_max for s in stats]
    least = [s.min if k else -(2**62) for s, k in zip(stats, known, strict=True)]
    most = [s.max if k else 2**62 for s, k in zip(stats, known, strict=True)]
    return np.array(least, dtype=np.int64), np.array(most, dtype=np.int64)


@lru_cache(maxsize=4)
def _group(path: Path, stamp: tuple[int, int], number: int) -> pa.Table:
    try:
        return _opened(path).read_row_group(number)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
