from pathlib import Path

import pytest

from robot_stack.config.schema import DemoSettings
from robot_stack.demo.cache import stage

CODE = ["robot_stack/clock.py"]


def _write(folder: Path) -> None:
    (folder / "result").write_text("made")


def test_a_finished_stage_is_found_again_and_not_made_twice(tmp_path: Path) -> None:
    first = stage(tmp_path, "x", {"a": 1}, CODE, _write)
    second = stage(tmp_path, "x", {"a": 1}, CODE, lambda folder: pytest.fail("made twice"))
    assert (first.fresh, second.fresh) == (True, False)
    assert first.folder == second.folder and (second.folder / "result").read_text() == "made"


@pytest.mark.parametrize("inputs", [{"a": 2}, {"a": 1, "settings": DemoSettings(seed=1)}])
def test_other_inputs_make_another_stage(tmp_path: Path, inputs: object) -> None:
    first = stage(tmp_path, "x", {"a": 1}, CODE, _write)
    assert stage(tmp_path, "x", inputs, CODE, _write).folder != first.folder


def test_other_source_code_makes_another_stage(tmp_path: Path) -> None:
    first = stage(tmp_path, "x", {}, CODE, _write)
    assert stage(tmp_path, "x", {}, ["robot_stack/types.py"], _write).folder != first.folder


def test_a_stage_that_failed_halfway_is_made_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        stage(tmp_path, "x", {}, CODE, fail)
    made = stage(tmp_path, "x", {}, CODE, _write)
    assert made.fresh and not (made.folder / "half").exists()
