"""A real file system that is full: the log is closed and whole so far, the reason is said, and the recorder lives on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZE_MIB = 16
"""Half of it is what a log holds back for its end."""


def on_a_small_disk(folder: Path) -> dict[str, object]:
    """What `full_disk.py` says, run with a tmpfs of its own mounted at `folder`; skips where that is not allowed."""
    mount = f"mount -t tmpfs -o size={SIZE_MIB}m none {folder}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system of its own: `unshare -rm mount -t tmpfs` is not allowed here")
    script = f"{mount} && exec {sys.executable} {ROOT / 'tests' / 'faults' / 'full_disk.py'} {folder}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_a_full_disk_closes_the_log_whole_so_far_says_so_and_the_recorder_goes_on(tmp_path: Path) -> None:
    found = on_a_small_disk(tmp_path)
    assert found["complete"] and found["metadata"] and found["prefix"]
    assert 50 < found["count"] == found["messages"]["/scene/image"] < found["given"]  # type: ignore[index, operator]
    why = found["stopped"]
    assert isinstance(why, str) and "No space left on device after" in why and "it is closed, and whole up to there" in why
    assert found["said"] and found["said"][0] == why  # type: ignore[index]
    assert "MiB free, allowed 1" in str(found["again"]) or "free some space" in str(found["again"])
    assert all(str(answer).startswith("allowed: ") for answer in found["goes_on"])  # type: ignore[attr-defined]
