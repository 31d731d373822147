"""Labels lie beside the dataset, say where they come from, compose, and can be taken back."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")

from robot_stack.cli import main
from robot_stack.config.relabel import WeightSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.edits import read_edits
from robot_stack.data.labels import about_of
from robot_stack.errors import DataError
from robot_stack.learn import load_episodes
from robot_stack.relabel import weights
from robot_stack.relabel.labeller import Labeller
from robot_stack.relabel.runs import Job, relabel
from tests.data.made_up import picture, recording
from tests.relabel.written import HELPED, write_set, write_turns


@pytest.fixture
def logs(tmp_path):
    return write_set(tmp_path / "logs")


def run(*words):
    return main(["relabel", *map(str, words)])


def files(root, pattern="*"):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob(pattern)) if p.is_file()}


def episode(root, name, rate_hz=30.0):
    catalogue = Catalogue.open(root, rate_hz)
    (entry,) = catalogue.find([name])
    return catalogue.recording(entry)


def speed(found, settings, gathered):
    q = found.columns["observation.state"]
    return {"speed": np.abs(np.gradient(q, axis=0)).max(axis=1), "mean_speed": float(np.abs(np.diff(q, axis=0)).mean())}


def doubled(found, settings, gathered):
    return {"doubled": 2 * found.columns["speed"] + found.constants["mean_speed"]}


SPEED = Labeller("speed", 1, speed)
DOUBLED = Labeller("doubled", 1, doubled, reads=lambda settings: ("speed", "mean_speed"))


def do(root, labeller, settings=None, **options):
    return relabel(Job(root, 30.0, labeller, settings or WeightSettings()), **options)


def test_labels_lie_beside_the_logs_and_no_log_is_touched(logs, capsys):
    before = files(logs)
    assert run("interventions", f"dataset={logs}", "why=the first round") == 0
    after = files(logs)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"labels", "edits.jsonl"}
    assert "0001-interventions: 3 episodes" in capsys.readouterr().out


def test_a_run_says_who_when_why_and_what_it_was_made_from(logs):
    assert run("interventions", f"dataset={logs}", "why=the first round") == 0
    card = json.loads((logs / "labels/0001-interventions/run.json").read_text())
    assert card["why"] == "the first round" and card["who"] and card["when"] and card["settings"]["window"] == 0.75
    about = about_of(logs / "labels/0001-interventions/a.parquet")
    assert about["labeller"] == "interventions" and about["version"] == 1 and len(about["inputs"]["log"][0]) == 64
    assert read_edits(logs)[0].why == "the first round"


def test_the_same_again_is_nothing_and_says_so(logs, capsys):
    run("interventions", f"dataset={logs}")
    before = files(logs)
    assert run("interventions", f"dataset={logs}") == 0
    assert "nothing to do, all 3 episodes have these labels already" in capsys.readouterr().out
    assert files(logs) == before


def test_a_new_episode_makes_a_labeller_of_the_whole_dataset_look_again(logs, capsys):
    run("interventions", f"dataset={logs}")
    write_turns(logs / "d", HELPED, seed=4)
    run("interventions", f"dataset={logs}")
    assert "0002-interventions: 4 episodes" in capsys.readouterr().out
    do(logs, SPEED)
    write_turns(logs / "e", HELPED, seed=5)
    again = do(logs, SPEED)
    assert (again.episodes, again.kept) == (1, 4)


def test_labellers_compose_and_the_newest_run_wins(logs):
    do(logs, SPEED)
    do(logs, DOUBLED)
    found = episode(logs, "a")
    assert np.array_equal(found.columns["doubled"], 2 * found.columns["speed"] + found.constants["mean_speed"])
    do(logs, Labeller("speed", 2, lambda found, settings, gathered: {"speed": np.zeros(len(found))}))
    assert not episode(logs, "a").columns["speed"].any()
    assert do(logs, DOUBLED).episodes == 3, "what it reads has changed"


def test_a_labeller_sees_no_labels_but_those_it_reads(logs):
    do(logs, SPEED)

    def peek(found, settings, gathered):
        assert "speed" not in found.columns and "mean_speed" not in found.constants
        return {"length": len(found)}

    assert do(logs, Labeller("peek", 1, peek)).episodes == 3


def test_what_a_labeller_reads_must_be_there(logs):
    faults = do(logs, DOUBLED).faults
    assert len(faults) == 3 and "run the labeller that writes it first" in faults[0].why
    assert not read_edits(logs)


def test_undo_takes_a_run_back_but_not_one_that_another_has_read(logs, capsys):
    do(logs, SPEED)
    do(logs, DOUBLED)
    assert run("undo=0001-speed", f"dataset={logs}") == 2
    assert "0002-doubled has read the labels of 0001-speed" in capsys.readouterr().err
    assert run("undo=0002-doubled", f"dataset={logs}") == 0
    assert main(["data", "undo", str(logs)]) == 0
    assert "speed" not in episode(logs, "a").columns and (logs / "labels/0001-speed/a.parquet").is_file()


def test_gc_deletes_runs_that_were_taken_back(logs, capsys):
    do(logs, SPEED)
    do(logs, DOUBLED)
    run("undo=0002-doubled", f"dataset={logs}")
    assert main(["data", "gc", str(logs)]) == 0
    assert "0002-doubled" in capsys.readouterr().out and (logs / "labels/0002-doubled").is_dir()
    assert main(["data", "gc", str(logs), "yes=true"]) == 0
    assert not (logs / "labels/0002-doubled").exists() and "speed" in episode(logs, "a").columns


def test_labels_are_right_at_another_rate_and_after_an_edit(logs):
    times = Labeller("clock", 1, lambda found, settings, gathered: {"clock": found.columns["t_ns"].copy()})
    do(logs, times)
    fast = episode(logs, "a", rate_hz=100.0)
    late = fast.columns["t_ns"] - fast.columns["clock"]
    assert late.min() >= 0 and late.max() < 1e9 / 30
    main(["data", "trim", str(logs), "episodes=[a]", "start=0.5", "stop=0.8"])
    cut = episode(logs, "a")
    assert np.array_equal(cut.columns["t_ns"], cut.columns["clock"])


def test_an_episode_that_was_recorded_anew_does_not_get_the_old_labels(logs):
    do(logs, SPEED)
    late = write_turns(logs / "new", HELPED)
    shutil.rmtree(logs / "a")
    late.rename(logs / "a")
    assert do(logs, SPEED).episodes == 1


def test_a_damaged_episode_is_named_and_the_rest_goes_on(logs, capsys):
    (file,) = (logs / "b").glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 400] = bytes(400)
    file.write_bytes(data)
    assert run("interventions", f"dataset={logs}") == 1
    said = capsys.readouterr().out
    assert "2 episodes" in said and "left out: b: " in said and "damaged" in said


def test_a_label_cannot_hide_what_was_recorded_nor_have_another_length(logs):
    hides = do(logs, Labeller("hides", 1, lambda found, settings, gathered: {"qd": np.zeros(len(found))}))
    short = do(logs, Labeller("short", 1, lambda found, settings, gathered: {"less": np.zeros(3)}))
    said = do(logs, Labeller("said", 1, lambda found, settings, gathered: {"done": np.bool_(True)}))
    assert "was recorded" in hides.faults[0].why and "allowed numbers" in short.faults[0].why
    assert "or one bool" in said.faults[0].why


def test_an_unknown_labeller_is_an_error_that_lists_those_there_are(logs, capsys):
    assert run("wieghts", f"dataset={logs}") == 2
    assert "interventions" in capsys.readouterr().err


def test_a_run_needs_a_dataset(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        do(tmp_path / "nothing", SPEED)


@pytest.mark.parametrize("to", ["lerobot-v3", "robomimic"])
def test_other_formats_are_labelled_the_same_way_and_labels_survive_a_conversion(logs, tmp_path, to):
    pytest.importorskip("av", reason="needs av: pip install 'robot_stack[train]'")
    pytest.importorskip("h5py", reason="needs h5py: pip install 'robot_stack[robomimic]'")
    do(logs, SPEED)
    out = tmp_path / ("set.hdf5" if to == "robomimic" else "set")
    assert main(["data", "convert", str(logs), f"to={to}", f"out={out}"]) == 0
    names = [entry.name for entry in Catalogue.open(out).entries()]
    assert np.array_equal(episode(out, names[0]).columns["speed"].reshape(-1), episode(logs, "a").columns["speed"])
    twice = do(out, Labeller("twice", 1, lambda found, settings, gathered: {"twice": 2.0 * found.columns["speed"].reshape(-1)}))
    assert twice.episodes == 3 and not twice.faults
    main(["data", "subsample", str(out), "all=true", "stride=2"])
    found = episode(out, names[1])
    assert np.array_equal(found.columns["twice"].reshape(-1), 2 * found.columns["speed"].reshape(-1))


def test_training_reads_labels_and_a_logs_pictures_stay_as_large_as_the_robots(tmp_path):
    logs = tmp_path / "logs"
    write_turns(logs / "a", HELPED, rgb=picture(0))
    do(logs, SPEED)
    (found,) = load_episodes(logs, 20.0, (24, 24))
    assert found.columns["speed"].shape == (len(found),) and found.images["scene"].shape[1:3] == (48, 64)


@pytest.mark.slow
def test_many_processes_write_the_same_bytes_as_one(logs, tmp_path):
    pytest.importorskip("ray", reason="needs ray: pip install 'robot_stack[scale]'")
    other = shutil.copytree(logs, tmp_path / "other")
    assert run("interventions", "hindsight", f"dataset={logs}") == run(
        "interventions", "hindsight", f"dataset={other}", "ray=local"
    )
    one, many = files(logs / "labels", "*.parquet"), files(other / "labels", "*.parquet")
    assert one == many and len(one) == 6


def test_weights_read_what_another_labeller_wrote(logs):
    do(logs, Labeller("done", 1, lambda found, settings, gathered: {"success": found.name == "b"}))
    do(logs, weights.LABELLER, WeightSettings(alpha=1.0))
    ratio = episode(logs, "b").columns["weight"][0] / episode(logs, "a").columns["weight"][0]
    assert ratio == pytest.approx(np.e, rel=1e-5)


def test_recordings_without_a_clock_are_labelled_by_their_rows(tmp_path):
    from robot_stack.data.log_source import write_log

    write_log(recording("one"), tmp_path / "set" / "one")
    rows = Labeller("rows", 1, lambda found, settings, gathered: {"row": np.arange(len(found))})
    assert relabel(Job(tmp_path / "set", 30.0, rows, WeightSettings())).episodes == 1
    main(["data", "trim", str(tmp_path / "set"), "all=true", "start=0.5"])
    assert episode(tmp_path / "set", "one").columns["row"].tolist() == list(range(10, 40))
