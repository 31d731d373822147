import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'robot_stack[train]'")
pytest.importorskip("av", reason="needs av: pip install 'robot_stack[train]'")

from robot_stack.data.catalogue import Catalogue  # noqa: E402
from robot_stack.data.compare import difference  # noqa: E402
from robot_stack.data.lerobot import read_lerobot  # noqa: E402
from robot_stack.data.lerobot_piece import write_piece  # noqa: E402
from robot_stack.data.lerobot_write import write_v30  # noqa: E402
from robot_stack.data.recording import ACTION, STATE, Clip  # noqa: E402
from robot_stack.data.video import decode_video, iterate_clip  # noqa: E402
from robot_stack.datasets import convert as conversion  # noqa: E402
from robot_stack.datasets.convert import convert  # noqa: E402
from robot_stack.errors import ConfigError, DataError  # noqa: E402
from tests.data.made_up import JOINTS, recording, write_teleop  # noqa: E402

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"


def written(folder, recordings, write=write_v30):
    pieces = [write_piece(r, folder / f".pieces/{i}", "h264") for i, r in enumerate(recordings)]
    write(pieces, folder)
    shutil.rmtree(folder / ".pieces")
    return folder


@pytest.fixture(scope="module")
def v30(tmp_path_factory):
    some = [recording("one", 40, seed=1), recording("two", 30, seed=2, task="Sort."), recording("three", 25, seed=3)]
    return written(tmp_path_factory.mktemp("made") / "v30", some)


def everything(path):
    catalogue = Catalogue.open(path)
    return [catalogue.recording(entry) for entry in catalogue.entries()]


def assert_same(ours, theirs):
    """Numbers, names, tasks and constants; what a format adds on its way, and the order of logs, is no difference."""
    ours, theirs = (sorted(some, key=lambda r: r.name) for some in (ours, theirs))
    assert [r.name for r in ours] == [r.name for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for name, values in a.columns.items():
            assert difference(values, b.columns[name], f"{a.name} {name}") is None
        assert (a.rate_hz, a.task, dict(a.names), dict(a.constants)) == (b.rate_hz, b.task, dict(b.names), dict(b.constants))


@pytest.mark.parametrize("to", ["lerobot-v3", "lerobot-v2.1", "robomimic", "log"])
def test_a_dataset_comes_back_from_every_format_bit_for_bit(v30, tmp_path, to):
    out = tmp_path / ("there.hdf5" if to == "robomimic" else "there")
    convert(Catalogue.open(v30), out, to)
    convert(Catalogue.open(out), tmp_path / "back", "lerobot-v3")
    assert_same(everything(v30), everything(out))
    assert_same(everything(v30), everything(tmp_path / "back"))
    assert everything(tmp_path / "back")[0].about == {"env_args": {"env_name": "made_up", "type": 2, "env_kwargs": {}}}


def test_videos_are_copied_packet_by_packet(v30, tmp_path):
    found = convert(Catalogue.open(v30), tmp_path / "v21", "lerobot-v2.1")
    convert(Catalogue.open(tmp_path / "v21"), tmp_path / "again", "lerobot-v3")
    assert found.psnr_db == {"top": float("inf")}
    for a, b in zip(everything(v30), everything(tmp_path / "again"), strict=True):
        pictures = zip(iterate_clip(a.cameras["top"]), iterate_clip(b.cameras["top"]), strict=True)
        assert all(np.array_equal(x, y) for x, y in pictures)


def test_v3_has_the_documented_layout(v30):
    files = sorted(str(p.relative_to(v30)) for p in v30.rglob("*") if p.is_file())
    assert files == [
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "videos/observation.images.top/chunk-000/file-000.mp4",
    ]
    info = json.loads((v30 / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"], info["fps"]) == ("v3.0", 3, 95, 20)
    assert info["features"][STATE] == {"dtype": "float32", "shape": [3], "names": list(JOINTS)}
    assert info["features"]["observation.images.top"]["shape"] == [48, 64, 3]
    index = pq.read_table(v30 / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(r["dataset_from_index"], r["dataset_to_index"], r["tasks"]) for r in index] == [
        (0, 40, ["Stack."]),
        (40, 70, ["Sort."]),
        (70, 95, ["Stack."]),
    ]
    assert [r["videos/observation.images.top/from_timestamp"] for r in index] == pytest.approx([0.0, 2.0, 3.5])
    rows = pq.read_table(v30 / "data/chunk-000/file-000.parquet").to_pydict()
    assert rows["index"] == list(range(95)) and rows["task_index"] == [0] * 40 + [1] * 30 + [0] * 25
    assert set(json.loads((v30 / "meta/stats.json").read_text())[STATE]) == {"min", "max", "mean", "std", "count"}


def test_statistics_of_the_whole_are_those_of_all_rows(v30):
    stats = json.loads((v30 / "meta/stats.json").read_text())[STATE]
    rows = np.concatenate([r.columns[STATE] for r in everything(v30)]).astype(float)
    assert stats["mean"] == pytest.approx(rows.mean(0).tolist()) and stats["std"] == pytest.approx(rows.std(0).tolist())
    assert stats["min"] == rows.min(0).tolist() and stats["count"] == [95]


def test_pictures_without_packets_are_encoded_and_their_loss_is_said(tmp_path):
    write_teleop(tmp_path / "logs" / "first")
    found = convert(Catalogue.open(tmp_path / "logs"), tmp_path / "v30", "lerobot-v3")
    assert 35 < found.psnr_db["scene"] < 100
    (before,), (after,) = everything(tmp_path / "logs"), everything(tmp_path / "v30")
    assert_same([before], [after])
    decoded = decode_video(after.cameras["scene"].path, (None, None), after.cameras["scene"].times_s)
    originals = np.stack(list(before.cameras["scene"]))
    error = np.mean((decoded.astype(float) - originals) ** 2)
    assert 10 * np.log10(255**2 / error) == pytest.approx(found.psnr_db["scene"], abs=1.0)


def test_a_row_for_each_tick_keeps_the_times_of_a_log(tmp_path):
    write_teleop(tmp_path / "logs" / "first", camera=False)
    (found,) = [Catalogue.open(tmp_path / "logs", 0.0).recording(e) for e in Catalogue.open(tmp_path / "logs", 0.0).entries()]
    assert len(found) == 100 and found.rate_hz == 100.0
    assert found.columns["t_ns"].tolist() == [10**12 + i * 10_000_000 for i in range(20, 120)]
    convert(Catalogue.open(tmp_path / "logs", 0.0), tmp_path / "v30", "lerobot-v3")
    convert(Catalogue.open(tmp_path / "v30"), tmp_path / "back", "log")
    assert_same([found], everything(tmp_path / "back"))


def test_the_same_input_makes_the_same_bytes(v30, tmp_path):
    for to, name in (("lerobot-v3", "a"), ("lerobot-v2.1", "b"), ("log", "c")):
        for copy in ("1", "2"):
            convert(Catalogue.open(v30), tmp_path / copy / name, to)
    ones, twos = ({p.relative_to(tmp_path / c): p.read_bytes() for p in (tmp_path / c).rglob("*") if p.is_file()} for c in "12")
    assert [str(name) for name in ones if ones[name] != twos[name]] == [] and ones.keys() == twos.keys()


def test_ray_writes_the_same_bytes(v30, tmp_path):
    pytest.importorskip("ray", reason="needs ray: pip install 'robot_stack[scale]'")
    convert(Catalogue.open(v30), tmp_path / "here", "lerobot-v3")
    convert(Catalogue.open(v30), tmp_path / "there", "lerobot-v3", ray="local")
    here, there = (
        {p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file()} for d in (tmp_path / "here", tmp_path / "there")
    )
    assert here == there


def break_parquet(root):
    file = root / "data/chunk-000/episode_000001.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def break_video(root):
    file = root / "videos/chunk-000/observation.images.top/episode_000001.mp4"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def drop_video(root):
    (root / "videos/chunk-000/observation.images.top/episode_000001.mp4").unlink()


def change(root, **columns):
    file = root / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name.replace("__", ".")), name.replace("__", "."), values)
    pq.write_table(table, file)


def wrong_joints(root):
    import pyarrow as pa

    change(root, action=pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(60, np.float32)), 2))


def not_a_number(root):
    import pyarrow as pa

    values = np.zeros((30, 3), np.float32)
    values[7, 1] = np.nan
    change(root, action=pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 3))


FAULTS = {
    "no readable parquet": break_parquet,
    "cannot be decoded": break_video,
    "missing": drop_video,
    r"action has 2 numbers a row, allowed 3": wrong_joints,
    r"action: row 7 elbow is nan \(1 not finite\)": not_a_number,
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_damaged_episode_is_named_and_the_rest_goes_on(v30, tmp_path, words):
    convert(Catalogue.open(v30), tmp_path / "v21", "lerobot-v2.1")
    FAULTS[words](tmp_path / "v21")
    found = convert(Catalogue.open(tmp_path / "v21"), tmp_path / "out", "lerobot-v3")
    assert [fault.name for fault in found.faults] == ["two"] and found.episodes == 2
    pytest.raises(DataError, _raise, found.faults[0].why).match(words)
    assert [r.name for r in everything(tmp_path / "out")] == ["one", "three"]
    assert not list(tmp_path.glob(".*"))


def _raise(why):
    raise DataError(why)


def test_an_episode_of_another_rate_or_shape_is_left_out(tmp_path):
    root = written(tmp_path / "a", [recording("one", camera=False)])
    other = written(tmp_path / "b", [recording("two", rate_hz=10.0, camera=False)])
    (root / "edits.jsonl").write_text(json.dumps({"verb": "merge", "episodes": [], "other": str(other)}) + "\n")
    found = convert(Catalogue.open(root), tmp_path / "out", "lerobot-v3")
    assert [(f.name, f.why) for f in found.faults] == [("two", "10 rows/s, allowed 20 as in one")]


def test_nothing_is_left_when_the_disk_is_full(v30, tmp_path, monkeypatch):
    def refuse(table, where, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", refuse)
    monkeypatch.setattr(conversion, "_full", lambda folder: True)
    with pytest.raises(DataError, match="No space left on device"):
        convert(Catalogue.open(v30), tmp_path / "out", "lerobot-v3")
    assert not list(tmp_path.iterdir())


def test_a_dataset_is_never_overwritten(v30, tmp_path):
    with pytest.raises(DataError, match="exists, allowed a new name"):
        convert(Catalogue.open(v30), tmp_path, "lerobot-v3")
    with pytest.raises(ConfigError, match="allowed lerobot-v3, lerobot-v2.1, robomimic, log"):
        convert(Catalogue.open(v30), tmp_path / "out", "lerobot-v4")


def test_v3_is_read_as_episodes_for_training(v30):
    episodes = read_lerobot(v30, height=12, width=16)
    assert [(len(e), e.instruction, e.joint_names) for e in episodes][1] == (30, "Sort.", JOINTS)
    assert episodes[2].images["top"].shape == (25, 12, 16, 3)


def test_a_film_that_is_encoded_otherwise_begins_a_new_file(tmp_path):
    some = [write_piece(recording(n, 12), tmp_path / f"p/{n}", codec) for n, codec in (("one", "h264"), ("two", "av1"))]
    write_v30(some, tmp_path / "set")
    clips = [r.cameras["top"] for r in everything(tmp_path / "set")]
    assert [clip.path.name for clip in clips] == ["file-000.mp4", "file-001.mp4"]
    assert all(len(list(iterate_clip(clip))) == 12 for clip in clips)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real datasets at {SHARED} (set ROBOT_STACK_SHARED)")
@pytest.mark.parametrize("to", ["lerobot-v3", "lerobot-v2.1", "log"])
def test_real_demonstrations_come_back_bit_for_bit(tmp_path, to):
    source = Catalogue.open(SHARED / "adroit_door")
    five = list(source.entries())[:5]
    entries = [source.recording(entry) for entry in five]
    pieces = tmp_path / "few.hdf5"
    shutil.copyfile(SHARED / "adroit_door/door_human.hdf5", pieces)
    _keep(pieces, [entry.key for entry in five])
    convert(Catalogue.open(pieces), tmp_path / "there", to)
    convert(Catalogue.open(tmp_path / "there"), tmp_path / "back.hdf5", "robomimic")
    assert_same(entries, everything(tmp_path / "back.hdf5"))


def _keep(file, keys):
    import h5py

    with h5py.File(file, "a") as opened:
        for key in set(opened["data"]) - set(keys):
            del opened["data"][key]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real datasets at {SHARED} (set ROBOT_STACK_SHARED)")
def test_a_real_video_dataset_comes_back_bit_for_bit(tmp_path):
    convert(Catalogue.open(SHARED / "g1_bottle"), tmp_path / "v30", "lerobot-v3")
    convert(Catalogue.open(tmp_path / "v30"), tmp_path / "v21", "lerobot-v2.1")
    before, after = everything(SHARED / "g1_bottle"), everything(tmp_path / "v21")
    assert_same(before, after)
    first, last = before[19].cameras["cam_high"], after[19].cameras["cam_high"]
    rows = slice(100, 110)
    assert isinstance(first, Clip) and isinstance(last, Clip)
    pictures = zip(iterate_clip(first.pick(rows)), iterate_clip(last.pick(rows)), strict=True)
    assert all(np.array_equal(x, y) for x, y in pictures)
    assert before[0].columns[ACTION].dtype == np.float32
