"""A real file system that is full while a training is saved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policies.checkpoint import RESUME

ROOT = Path(__file__).resolve().parents[2]
SIZE_MIB = 1


def test_a_full_disk_is_said_and_the_last_checkpoint_is_whole_and_gone_on_from(tmp_path: Path) -> None:
    small, elsewhere = tmp_path / "small", tmp_path / "elsewhere"
    small.mkdir()
    mount = f"mount -t tmpfs -o size={SIZE_MIB}m none {small}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system of its own: `unshare -rm mount -t tmpfs` is not allowed here")
    program = f"{sys.executable} {ROOT / 'tests' / 'policies' / 'full_disk_training.py'} {small} {elsewhere}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = ["unshare", "-rm", "sh", "-c", f"{mount} && exec {program}"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert "resume.safetensors: No space left on device" in found["error"] and "the one before is whole" in found["error"]
    assert found["kept"] and found["same"]
    assert found["files"] == ["events", RESUME], "no part of a file is left"
    assert "entry.npy: No space left on device" in found["cache"] and not found["entry"]
