"""What every figure is stored as."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import Result, store, summary, table


def test_percentiles_of_a_known_sample() -> None:
    assert summary(range(101)) == {"n": 101, "p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


@pytest.mark.parametrize("samples", [[], [1.0, float("nan")], [float("inf")]])
def test_nothing_and_not_a_number_are_no_figure(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="samples"):
        summary(samples)


def test_a_stored_result_has_every_key_and_the_ratio_to_each_peer(tmp_path: Path) -> None:
    (file,) = store([Result("speed", "ms", [1.0, 2.0, 3.0], {"peer": [4.0, 4.0]}, {"rows": 7})], tmp_path)
    stored = json.loads(file.read_text())
    assert file == tmp_path / "speed.json"
    assert list(stored) == ["name", "unit", "n", "p50", "p95", "p99", "max", "against", "extra", "versions", "machine"]
    assert stored["against"]["peer"]["ratio"] == 0.5
    assert stored["extra"] == {"rows": 7}
    assert {"python", "commit", "numpy"} <= set(stored["versions"])
    assert {"cpu", "cores", "memory_gib", "kernel", "load"} <= set(stored["machine"])


def test_the_table_names_figure_peer_and_unit() -> None:
    text = table([Result("speed", "ms", [1.0], {"peer": [2.0]}, {"rows": 7})])
    assert "speed" in text and "against peer" in text and "(0.50 x)" in text and "ms" in text and "rows: 7" in text


def test_the_figures_are_the_files_of_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from robot_stack import bench

    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "bench_alone.py").write_text("")
    monkeypatch.setattr(bench, "FOLDER", folder)
    assert bench.names() == ["alone"]
