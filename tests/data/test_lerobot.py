import json
import os
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
import pyarrow.parquet as pq  # noqa: E402

from robot_stack.data.lerobot import read_lerobot  # noqa: E402
from robot_stack.errors import DataError  # noqa: E402

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2].parent / "shared")) / "data" / "g1_bottle"
KEY = "observation.images.top"


def rows(count):
    t = np.arange(count)
    state = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2.0 * count, dtype=np.float32)), 2)
    return pa.table(
        {
            "observation.state": state,
            "action": state,
            "timestamp": pa.array((t / 10).astype(np.float32)),
            "next.reward": pa.array(t.astype(np.float32)),
            "task_index": pa.array(np.zeros(count, np.int64)),
        }
    )


def video(path, count):
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(count):
            picture = np.full((48, 64, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))


@pytest.fixture
def dataset(tmp_path):
    """One made-up episode of 6 rows, 2 joints, one video."""
    vector = {"dtype": "float32", "shape": [2], "names": [["a", "b"]]}
    info = {
        "codebase_version": "v2.1",
        "total_episodes": 1,
        "fps": 10,
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": vector,
            "action": vector,
            "next.reward": {"dtype": "float32", "shape": [1]},
            KEY: {"dtype": "video", "shape": [48, 64, 3]},
        },
    }
    root = tmp_path / "set"
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "Stack."}) + "\n")
    pq.write_table(rows(6), root / "data/chunk-000/episode_000000.parquet")
    video(root / f"videos/chunk-000/{KEY}/episode_000000.mp4", 6)
    return root


def test_an_episode_has_joints_pictures_task_and_columns(dataset):
    (episode,) = read_lerobot(dataset, height=12, width=16)
    assert episode.q.tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert (episode.joint_names, episode.rate_hz, episode.instruction) == (("a", "b"), 10.0, "Stack.")
    assert episode.columns["next.reward"].tolist() == [0, 1, 2, 3, 4, 5]
    levels = episode.images["top"].reshape(6, -1).mean(axis=1)
    assert episode.images["top"].shape == (6, 12, 16, 3)
    assert np.abs(levels - 20 * np.arange(6)).max() < 4


def test_pictures_keep_their_size_when_none_is_asked_for(dataset):
    (episode,) = read_lerobot(dataset)
    assert episode.images["top"].shape == (6, 48, 64, 3)


def test_decoded_pictures_come_from_the_cache_the_second_time(dataset, tmp_path):
    (first,) = read_lerobot(dataset, height=12, width=16, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    changed = first.images["top"] + 1
    np.save(kept, changed)
    (second,) = read_lerobot(dataset, height=12, width=16, cache=tmp_path / "cache")
    assert np.array_equal(second.images["top"], changed)


def test_other_pixels_are_another_cache_entry(dataset, tmp_path):
    read_lerobot(dataset, height=12, width=16, cache=tmp_path / "cache")
    read_lerobot(dataset, height=24, width=32, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", ["meta/info.json", "meta/tasks.jsonl", "data/chunk-000/episode_000000.parquet"])
def test_a_missing_file_is_named(dataset, name):
    (dataset / name).unlink()
    with pytest.raises(DataError, match=Path(name).name):
        read_lerobot(dataset)


def test_a_missing_video_is_named(dataset):
    (dataset / f"videos/chunk-000/{KEY}/episode_000000.mp4").unlink()
    with pytest.raises(DataError, match=r"episode_000000.mp4: missing"):
        read_lerobot(dataset)


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_cut_video_is_named(dataset, keep):
    file = dataset / f"videos/chunk-000/{KEY}/episode_000000.mp4"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"episode_000000.mp4: cannot be decoded"):
        read_lerobot(dataset)


def test_a_cut_parquet_is_named(dataset):
    file = dataset / "data/chunk-000/episode_000000.parquet"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match="no readable parquet"):
        read_lerobot(dataset)


def test_more_rows_than_frames_is_an_error(dataset):
    pq.write_table(rows(7), dataset / "data/chunk-000/episode_000000.parquet")
    with pytest.raises(DataError, match="found 6 frames, allowed 7"):
        read_lerobot(dataset)


def test_a_missing_column_is_named(dataset):
    pq.write_table(rows(6).drop_columns(["action"]), dataset / "data/chunk-000/episode_000000.parquet")
    with pytest.raises(DataError, match="no column action"):
        read_lerobot(dataset)


def test_another_version_is_refused(dataset):
    file = dataset / "meta/info.json"
    file.write_text(file.read_text().replace("v2.1", "v4.0"))
    with pytest.raises(DataError, match=r"v4.0, allowed v2"):
        read_lerobot(dataset)


def test_an_episode_that_does_not_exist_is_refused(dataset):
    with pytest.raises(DataError, match=r"no episodes \[3\], allowed 0..0"):
        read_lerobot(dataset, [0, 3])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real dataset at {SHARED} (set ROBOT_STACK_SHARED)")
def test_a_real_teleoperated_episode_is_read():
    (episode,) = read_lerobot(SHARED, [1], height=48, width=64)
    assert (len(episode), len(episode.joint_names), episode.rate_hz) == (343, 26, 30.0)
    assert episode.instruction == "Pick up the yellow bottle on the table."
    assert episode.images["cam_high"].shape == (343, 48, 64, 3)
    assert 20 < episode.images["cam_high"].mean() < 230
