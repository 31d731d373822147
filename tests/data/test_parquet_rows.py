import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")
import pyarrow.parquet as pq  # noqa: E402

from robot_stack.data import parquet_rows  # noqa: E402
from robot_stack.data.parquet_rows import rows_between, values_of  # noqa: E402
from robot_stack.errors import DataError  # noqa: E402


@pytest.fixture
def file(tmp_path):
    """index 100..199, ten rows a group."""
    path = tmp_path / "rows.parquet"
    values = np.arange(100, 200)
    pair = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(200, dtype=np.float32)), 2)
    pq.write_table(pa.table({"index": pa.array(values), "pair": pair}), path, row_group_size=10)
    return path


@pytest.mark.parametrize("low, high", [(100, 101), (105, 125), (199, 300), (110, 120)])
def test_rows_are_found_within_and_across_groups(file, low, high):
    table = rows_between(file, "index", low, high)
    assert table.column("index").to_pylist() == list(range(low, min(high, 200)))
    assert values_of(table, "pair", file)[0].tolist() == [2.0 * (low - 100), 2.0 * (low - 100) + 1]


def test_only_the_groups_that_hold_them_are_read(file, monkeypatch):
    read = []
    real = parquet_rows._group.__wrapped__
    monkeypatch.setattr(parquet_rows, "_group", lambda path, stamp, number: read.append(number) or real(path, stamp, number))
    rows_between(file, "index", 125, 135)
    assert read == [2, 3]


def test_rows_that_are_not_there_are_an_error(file):
    with pytest.raises(DataError, match=r"found no row with index in 300\.\.309"):
        rows_between(file, "index", 300, 310)
    with pytest.raises(DataError, match="no column frame"):
        rows_between(file, "frame", 0, 1)


def test_a_file_that_was_written_again_is_read_again(file):
    assert rows_between(file, "index", 100, 200).num_rows == 100
    pq.write_table(pa.table({"index": pa.array([150])}), file)
    assert rows_between(file, "index", 100, 200).num_rows == 1


def test_ragged_rows_and_gaps_are_errors(tmp_path):
    table = pa.table({"ragged": pa.array([[1.0], [1.0, 2.0]]), "gap": pa.array([1.0, None])})
    with pytest.raises(DataError, match="rows of unequal length"):
        values_of(table, "ragged", tmp_path)
    with pytest.raises(DataError, match="rows without a value"):
        values_of(table, "gap", tmp_path)
