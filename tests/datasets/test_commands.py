import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")
pytest.importorskip("av", reason="needs av: pip install 'robot_stack[train]'")

from robot_stack.cli import main
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.edits import journal
from robot_stack.data.lerobot import read_lerobot
from robot_stack.data.lerobot_piece import write_piece
from robot_stack.data.lerobot_write import write_v21, write_v30
from robot_stack.data.recording import STATE
from robot_stack.data.video import iterate_clip
from tests.data.made_up import picture, recording, write_teleop

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three episodes of 40 rows at 20 Hz, in both layouts."""
    folder = tmp_path_factory.mktemp("made")
    for write in (write_v21, write_v30):
        names = enumerate(("one", "two", "three"))
        pieces = [write_piece(recording(n, seed=i), folder / write.__name__ / f"{n}", "h264") for i, n in names]
        write(pieces, folder / f"{write.__name__}_set")
    return folder


@pytest.fixture(params=["write_v21", "write_v30"])
def dataset(request, made, tmp_path):
    shutil.copytree(made / f"{request.param}_set", tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def v30(made, tmp_path):
    shutil.copytree(made / "write_v30_set", tmp_path / "set")
    return tmp_path / "set"


def run(*words):
    return main(["data", *map(str, words)])


def names(path):
    return [entry.name for entry in Catalogue.open(path).entries()]


def episode(path, name):
    catalogue = Catalogue.open(path)
    (entry,) = catalogue.find([name])
    return catalogue.recording(entry)


def files(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "edits.jsonl"}


def matches(found, rows):
    """The pictures are those of `rows`: compression leaves a few grey levels."""
    return all(
        np.abs(a.astype(int) - picture(i)).mean() < 4 for a, i in zip(iterate_clip(found.cameras["top"]), rows, strict=True)
    )


def test_ls_and_info_say_what_there_is(dataset, capsys):
    assert run("ls", dataset) == 0
    assert "two                           40     2.00      20  Stack." in capsys.readouterr().out
    assert run("info", dataset, "check=true", "statistics=true") == 0
    said = capsys.readouterr().out
    assert "3 episodes, 120 rows" in said and "camera top: 64x48 h264" in said and "observation.state[elbow]" in said


def test_edits_leave_every_file_as_it_is(dataset):
    before = files(dataset)
    assert run("delete", dataset, "episodes=[one]", "why='hand in the picture'") == 0
    assert run("trim", dataset, "episodes=[two]", "start=0.5", "stop=1.5") == 0
    assert run("rename", dataset, "episodes=[two]", "name=best") == 0
    assert run("retask", dataset, "all=true", "instruction=Sort.") == 0
    assert run("split", dataset, "episodes=[three]", "start=0.75") == 0
    assert names(dataset) == ["best", "three.a", "three.b"] and files(dataset) == before
    found = episode(dataset, "best")
    assert (len(found), found.task, found.times_s()[0]) == (20, "Sort.", 0.0)
    assert np.array_equal(found.columns[STATE], recording(seed=1).columns[STATE][10:30]) and matches(found, range(10, 30))
    assert len(episode(dataset, "three.a")) == 15 and matches(episode(dataset, "three.b"), range(15, 40))
    assert json.loads(journal(dataset).read_text().splitlines()[0])["why"] == "hand in the picture"


def test_undo_takes_back_the_last_edit(dataset, capsys):
    run("delete", dataset, "episodes=[one,two]")
    run("retask", dataset, "all=true", "instruction=Sort.")
    assert run("undo", dataset) == 0 and run("undo", dataset) == 0
    assert names(dataset) == ["one", "two", "three"] and not journal(dataset).exists()
    assert run("undo", dataset) == 2 and "no edit to take back" in capsys.readouterr().err


def test_subsampled_rows_keep_their_pictures(dataset):
    run("subsample", dataset, "all=true", "stride=4")
    found = episode(dataset, "two")
    assert (len(found), found.rate_hz) == (10, 5.0) and matches(found, range(0, 40, 4))
    run("trim", dataset, "all=true", "start=1.0")
    assert matches(episode(dataset, "two"), range(20, 40, 4))


def test_training_reads_what_edits_left(dataset):
    run("delete", dataset, "episodes=[one]")
    assert [e.name for e in read_lerobot(dataset, height=12, width=16)] == ["set/two", "set/three"]


def test_merged_episodes_come_after(dataset, tmp_path):
    write_v30([write_piece(recording("one", seed=7), tmp_path / "p7", "h264")], tmp_path / "other")
    assert run("merge", dataset, f"other={tmp_path / 'other'}") == 0
    assert names(dataset) == ["one", "two", "three", "other:one"]
    assert np.array_equal(episode(dataset, "other:one").columns[STATE], recording(seed=7).columns[STATE])


def test_two_datasets_may_be_moved_together_after_one_took_in_the_other(dataset, tmp_path):
    write_v30([write_piece(recording("one", seed=7), tmp_path / "p7", "h264")], tmp_path / "other")
    run("merge", dataset, f"other={tmp_path / 'other'}")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for folder in (dataset, tmp_path / "other"):
        folder.rename(moved / folder.name)
    assert names(moved / dataset.name) == ["one", "two", "three", "other:one"]
    assert np.array_equal(episode(moved / dataset.name, "other:one").columns[STATE], recording(seed=7).columns[STATE])


def test_a_dataset_is_not_merged_into_itself(dataset, tmp_path, capsys):
    assert run("merge", dataset, f"other={dataset}") == 2
    write_v30([write_piece(recording("one", seed=7), tmp_path / "p7", "h264")], tmp_path / "other")
    run("merge", tmp_path / "other", f"other={dataset}")
    assert run("merge", dataset, f"other={tmp_path / 'other'}") == 2
    assert "has it merged already" in capsys.readouterr().err


def test_gc_makes_edits_final_without_encoding_anything(dataset, capsys):
    (dataset / "LICENSE").write_text("free")
    run("delete", dataset, "episodes=[one]")
    run("trim", dataset, "episodes=[two]", "start=0.55", "stop=1.5")
    run("subsample", dataset, "all=true", "stride=2")
    before = files(dataset)
    assert run("gc", dataset) == 0 and files(dataset) == before
    assert run("gc", dataset, "yes=true") == 0
    assert "none re-encoded" in capsys.readouterr().out and not journal(dataset).exists()
    assert names(dataset) == ["two", "three"] and (dataset / "LICENSE").read_text() == "free"
    found = episode(dataset, "two")
    assert len(found) == 10 and matches(found, range(11, 30, 2)) and matches(episode(dataset, "three"), range(0, 40, 2))
    assert [p.name for p in dataset.parent.iterdir() if p.name.startswith(".")] == []


def test_gc_changes_nothing_when_an_episode_cannot_be_read(dataset, capsys):
    run("delete", dataset, "episodes=[one]")
    sorted(dataset.rglob("*.mp4"))[-1].unlink()
    before = files(dataset)
    assert run("gc", dataset, "yes=true") == 2
    assert files(dataset) == before


def test_gc_of_logs_deletes_those_that_no_episode_needs(tmp_path, capsys):
    for name in ("one", "two", "three"):
        write_teleop(tmp_path / "logs" / name)
    run("delete", tmp_path / "logs", "episodes=[one]")
    run("split", tmp_path / "logs", "episodes=[two]", "start=0.5")
    run("delete", tmp_path / "logs", "episodes=[two.a]")
    assert run("gc", tmp_path / "logs", "yes=true") == 0
    assert "deleted 1 recordings" in capsys.readouterr().out
    assert names(tmp_path / "logs") == ["three", "two.b"] and not (tmp_path / "logs/one").exists()
    write_teleop(tmp_path / "logs" / "one")
    assert names(tmp_path / "logs") == ["one", "three", "two.b"], "a new recording is not deleted by an old edit"


def test_missing_and_damaged_files_are_named_with_an_exit_code(dataset, tmp_path, capsys):
    if (dataset / "meta/episodes").exists():
        pytest.skip("v3 keeps many episodes in one file")
    (dataset / "data/chunk-000/episode_000001.parquet").unlink()
    video = dataset / "videos/chunk-000/observation.images.top/episode_000002.mp4"
    video.write_bytes(video.read_bytes()[:-2000])
    assert run("ls", dataset) == 0 and "[data/chunk-000/episode_000001.parquet: missing]" in capsys.readouterr().out
    assert run("info", dataset, "check=true") == 1
    said = capsys.readouterr().out
    assert "fault: two:" in said and "fault: three:" in said and "2 episodes have faults" in said
    assert run("convert", dataset, f"out={tmp_path / 'out'}", "to=robomimic") == 1
    assert "1 episodes, 40 rows" in capsys.readouterr().out


WRONG = {
    "data: found 'lss', allowed ls, info": ["lss"],
    "path: missing": ["ls"],
    "stride: unknown key of `robot-stack data ls`": ["ls", "x", "stride=2"],
    "no such file or folder, allowed a LeRobot dataset": ["ls", "/nowhere"],
    "episodes: missing; next: name some": ["delete", "{}"],
    "found no episode four, allowed one, two, three": ["delete", "{}", "episodes=[four]"],
    "name: two is another episode's": ["rename", "{}", "episodes=[one]", "name=two"],
    "allowed one: names are given one at a time": ["rename", "{}", "episodes=[one,two]", "name=x"],
    "one are shorter": ["split", "{}", "episodes=[one]", "start=9"],
    "stride 0; allowed 0 <= start <= stop": ["subsample", "{}", "all=true", "stride=0"],
    "instruction: missing, retask needs it": ["retask", "{}", "all=true"],
    "codec: found 'mjpeg', allowed h264, av1": ["convert", "{}", "out={}/new", "codec=mjpeg"],
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_words_are_told_what_is_allowed(v30, words, capsys):
    assert run(*(part.format(v30) for part in WRONG[words])) == 2
    assert words in capsys.readouterr().err
    assert not journal(v30).exists()


def test_a_damaged_journal_is_named(v30, capsys):
    journal(v30).write_text('{"verb": "delete"}\n')
    assert run("ls", v30) == 2 and "edits.jsonl: line 1 is no edit" in capsys.readouterr().err


def test_logs_convert_by_the_command_line(tmp_path, capsys):
    write_teleop(tmp_path / "logs" / "one")
    assert run("convert", tmp_path / "logs", f"out={tmp_path / 'v3'}", "to=lerobot-v3", "rate_hz=20") == 0
    assert "1 episodes, 20 rows" in capsys.readouterr().out


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real datasets at {SHARED} (set ROBOT_STACK_SHARED)")
@pytest.mark.parametrize("name, said", [("g1_bottle", "20 episodes, 7,182 rows"), ("adroit_door", "25 episodes, 6,729 rows")])
def test_the_real_datasets_are_listed(name, said, capsys):
    assert run("ls", SHARED / name) == 0 and said in capsys.readouterr().out
