"""One log at a time: started, marked, stopped, discarded; and what is said of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_stack.collect.dataset import discard, next_number, require_same
from robot_stack.collect.recorder import Recorder
from robot_stack.config.collect import CollectSettings
from robot_stack.config.datasets import DataGcCommand, DataShowCommand
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.findings import Finding, read_findings, write_findings
from robot_stack.data.log import read_log
from robot_stack.datasets.browse import write_page
from robot_stack.datasets.commands import main, parse
from robot_stack.errors import ConfigError, DataError
from robot_stack.types import CameraFrame, Mode
from tests.collect.small_robot import METADATA, NAMES, episode, message, picture

BAD = Finding("camera gap", "scene", 0.9, 0.2, "camera scene: no picture for 0.90 s")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder(CollectSettings(codec="lossless"), print, print)
    yield made
    made.close()


def record(recorder: Recorder, folder: Path, *marks: str) -> str:
    recorder.start(folder, METADATA)
    for topic, t_ns, value in episode(0.5):
        recorder.put(topic, t_ns, message(value))
    for mark in marks:
        recorder.mark(mark)
    return recorder.stop()


def test_the_last_mark_counts_and_is_listed_shown_and_part_of_the_episode(
    recorder: Recorder, tmp_path: Path, capsys: object
) -> None:
    record(recorder, tmp_path / "data" / "000_nominal", "success", "failure")
    record(recorder, tmp_path / "data" / "001_nominal")
    catalogue = Catalogue.open(tmp_path / "data", modes=frozenset(Mode))
    entries = list(catalogue.entries())
    assert [entry.mark for entry in entries] == ["failure", ""]
    assert catalogue.recording(entries[0]).constants["mark"] == "failure"
    assert main(["ls", str(tmp_path / "data")]) == 0
    listed = capsys.readouterr().out.splitlines()  # type: ignore[attr-defined]
    assert listed[1].endswith("tidy up  (failure)") and listed[2].endswith("tidy up")
    write_page(catalogue, DataShowCommand(str(tmp_path / "data"), str(tmp_path / "page.html")))
    assert "<b>failure</b>" in (tmp_path / "page.html").read_text()


def test_a_mark_is_found_in_a_log_that_was_cut(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, tmp_path / "000_nominal", "success")
    file = next((tmp_path / "000_nominal").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-100])
    (entry,) = Catalogue.open(tmp_path).entries()
    assert entry.mark == "success" and "cut" in entry.note


def test_marks_belong_to_an_open_log_and_are_of_two_kinds(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no log is being written"):
        recorder.mark("success")
    recorder.start(tmp_path / "log", METADATA)
    with pytest.raises(DataError, match="allowed success, failure"):
        recorder.mark("nice")
    recorder.stop()


def test_a_discarded_log_lies_whole_in_the_trash_and_is_not_listed_until_gc_deletes_it(
    recorder: Recorder, tmp_path: Path, capsys: object
) -> None:
    for name in ("000_nominal", "001_nominal"):
        record(recorder, tmp_path / name)
    assert ".trash/001_nominal" in recorder.discard()
    assert read_log(tmp_path / ".trash" / "001_nominal").complete
    assert [entry.name for entry in Catalogue.open(tmp_path).entries()] == ["000_nominal"]
    with pytest.raises(DataError, match="nothing to discard"):
        recorder.discard()
    assert main(["gc", str(tmp_path)]) == 0 and (tmp_path / ".trash" / "001_nominal").is_dir()
    assert isinstance(parse(["gc", "x"])[1], DataGcCommand) and main(["gc", str(tmp_path), "yes=true"]) == 0
    assert not (tmp_path / ".trash" / "001_nominal").exists() and (tmp_path / "000_nominal").is_dir()
    assert "001_nominal" in capsys.readouterr().out  # type: ignore[attr-defined]


def test_discarding_while_recording_ends_the_log_first_and_overwrites_nothing_in_the_trash(
    recorder: Recorder, tmp_path: Path
) -> None:
    for name in ("000_nominal", "000_nominal.1"):
        recorder.start(tmp_path / "000_nominal", METADATA)
        recorder.discard()
        assert read_log(tmp_path / ".trash" / name).complete and not (tmp_path / "000_nominal").exists()


def test_its_status_says_what_is_written_and_what_is_left(recorder: Recorder, tmp_path: Path) -> None:
    assert recorder.status()["path"] == ""
    recorder.start(tmp_path / "log", METADATA)
    recorder.mark("success")
    status = recorder.status()
    assert (status["path"], status["mark"], status["drops"]) == (str(tmp_path / "log"), "success", {})
    assert status["free_bytes"] > 0 and status["fault"] == ""
    recorder.stop()
    assert recorder.status()["last"] == str(tmp_path / "log")


def test_its_status_counts_what_is_dropped_meanwhile_and_a_picture_kept_as_it_is_is_no_fault(tmp_path: Path) -> None:
    said: list[str] = []
    made = Recorder(CollectSettings(), said.append, print)
    made.start(tmp_path / "log", METADATA)
    odd = message(CameraFrame("scene", 1, picture(0)[:15]))
    made.put("/scene/image", 1, odd)
    made.put("/scene/image", 2, bytes(2**27))
    assert made.status()["drops"] == {"/scene/image": 1}
    made.stop()
    made.close()
    assert "even sides" in said[0] and made.status()["fault"] == ""
    assert read_log(tmp_path / "log").summary.drops == {"/scene/image": 1}


def test_one_log_at_a_time_and_not_on_a_disk_that_is_nearly_full(recorder: Recorder, tmp_path: Path) -> None:
    recorder.start(tmp_path / "log", METADATA)
    with pytest.raises(DataError, match="stop it first"):
        recorder.start(tmp_path / "other", METADATA)
    greedy = Recorder(CollectSettings(free_mib=1e12), print, print)
    with pytest.raises(DataError, match="free, allowed 1e"):
        greedy.start(tmp_path / "other", METADATA)
    greedy.close()


def test_numbers_go_on_after_the_greatest_and_only_for_the_same_robot_and_task(recorder: Recorder, tmp_path: Path) -> None:
    assert next_number(tmp_path / "absent") == 0
    for name in ("000_nominal", "007_obstacle"):
        record(recorder, tmp_path / name)
    discard(tmp_path / "000_nominal")
    assert next_number(tmp_path) == 8
    require_same(tmp_path, "sim_arm", NAMES, "tidy up")
    with pytest.raises(ConfigError, match=r"task\.instruction: found 'cook', allowed 'tidy up', as in .*007_obstacle"):
        require_same(tmp_path, "sim_arm", NAMES, "cook")
    with pytest.raises(ConfigError, match="robot: found 'so101'"):
        require_same(tmp_path, "so101", NAMES, "tidy up")


def test_findings_beside_a_log_are_listed_unless_a_person_accepted_them(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, tmp_path / "000_nominal")
    write_findings(tmp_path / "000_nominal", [BAD])
    assert [entry.flags for entry in Catalogue.open(tmp_path).entries()] == [(BAD.sentence,)]
    write_findings(tmp_path / "000_nominal", [BAD], accepted=True)
    assert read_findings(tmp_path / "000_nominal") == []


def test_logs_that_are_there_already_are_checked_by_one_command(recorder: Recorder, tmp_path: Path, capsys: object) -> None:
    record(recorder, tmp_path / "000_nominal")
    assert main(["check", str(tmp_path), "quality.least_s=0.1"]) == 1
    said = capsys.readouterr().out  # type: ignore[attr-defined]
    assert "camera wrist: 0.0 pictures a second, allowed 27.0 or more" in said and "1 logs, 1 with findings" in said
    assert any("wrist" in flag for entry in Catalogue.open(tmp_path).entries() for flag in entry.flags)
    assert main(["check", str(tmp_path), "quality.least_s=0.1", "robot=unknown"]) == 0
