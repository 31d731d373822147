"""What `robot-stack train dataset=...` reads, and where its pictures lie."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_stack import learn
from robot_stack.errors import DataError
from robot_stack.learn import load_episodes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(learn, "PICTURES", tmp_path / "cache")
    return tmp_path / "cache"


def robomimic(file: Path, actions: int) -> Path:
    h5py = pytest.importorskip("h5py", reason="robomimic's files need h5py (extra `adroit`)")
    rng = np.random.default_rng(0)
    with h5py.File(file, "w") as opened:
        opened.create_group("data").attrs["env_args"] = "{}"
        for k in range(2):
            opened[f"data/demo_{k}/actions"] = rng.normal(size=(5, actions))
            opened[f"data/demo_{k}/obs/state"] = rng.normal(size=(5, 3))
            opened[f"data/demo_{k}/obs/front_image"] = np.full((5, 8, 6, 3), 100 + k, np.uint8)
    return file


def test_a_robomimic_file_is_episodes_whose_pictures_are_mapped(tmp_path: Path, cache: Path) -> None:
    file = robomimic(tmp_path / "demos.hdf5", actions=3)
    for _ in range(2):
        first, second = load_episodes(file, 20.0, (4, 4))
        assert (first.q.shape, first.rate_hz, first.name) == ((5, 3), 20.0, "demos.hdf5/demo_0")
        pictures = second.images["front_image"]
        assert isinstance(pictures, np.memmap) and pictures.shape == (5, 8, 6, 3) and (pictures == 101).all()
        assert len(list(cache.iterdir())) == 2
    assert [e.name for e in load_episodes(file, 20.0, None, last=1)] == ["demos.hdf5/demo_1"]


def test_actions_that_are_no_joints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name other joints \(3 and 2\), allowed the same in the same order"):
        load_episodes(robomimic(tmp_path / "demos.hdf5", actions=2), 20.0, None)


@pytest.mark.parametrize(("rank", "said"), [("0", "30.0 False"), ("1", "- True")])
def test_in_a_file_a_bar_speaks_seldom_and_only_of_one_process(rank: str, said: str) -> None:
    code = "from robot_stack.cli import settle_bars\nsettle_bars()\nfrom tqdm import tqdm\nbar = tqdm(range(9))\n"
    code += "print(getattr(bar, 'mininterval', '-'), bar.disable)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TQDM")} | {"RANK": rank}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == said
