"""A recorder killed by -9 at random moments: every file can be read as it is, and all but the last second is in it."""

import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="H.264 needs PyAV (extra `train`)")

from robot_stack.data.log import read_log

ROOT = Path(__file__).resolve().parents[2]
LOST_NS = 1_000_000_000
MOST_MESSAGES = 900
"""A moment is drawn from the first so many: three and a half seconds. For a quick look: from the first second and a half."""
QUICK_MESSAGES = 375


def killed_at(victim: "subprocess.Popen[bytes]", folder: Path, count: int) -> np.ndarray:
    """Have `folder` recorded and the recorder killed after `count` messages; when each was given to it (n,) ns."""
    assert victim.stdin is not None and victim.stdout is not None
    victim.stdin.write(f"{folder}\n".encode())
    victim.stdin.flush()
    child = int(victim.stdout.readline())
    heard = victim.stdout.read(8 * count)
    os.kill(child, signal.SIGKILL)
    while not heard.endswith(b"killed__"):
        heard += victim.stdout.read(8)
    return np.array(struct.unpack(f"{len(heard) // 8 - 1}q", heard[:-8]))


def check(folder: Path, given: np.ndarray) -> None:
    """What is in the log is a beginning of what was given, and no more than the last second is missing."""
    log = read_log(folder)
    found = np.array([value.t_ns for _, _, value in log.iterate({"/joint_states"})], dtype=np.int64)
    pictures = [value.t_ns for _, _, value in log.iterate({"/scene/image"})]
    assert not log.complete
    assert np.array_equal(found, given[: len(found)])
    assert given[-1] - (found[-1] if len(found) else given[0]) < LOST_NS
    last = found[-1] if len(found) else 0
    assert [t for t in pictures if t < last] == [t for t in given[::8].tolist() if t < last]


def matrix(tmp_path: Path, moments: int, codec: str, seed: int, most: int = MOST_MESSAGES) -> None:
    draw = random.Random(seed)
    command = [sys.executable, str(ROOT / "tests" / "data" / "log_victim.py"), codec]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as victim:
        for i in range(moments):
            folder = tmp_path / f"{i:03d}"
            check(folder, killed_at(victim, folder, draw.randrange(1, most)))


def test_a_recorder_killed_at_a_few_random_moments_loses_less_than_a_second_and_needs_no_repair(tmp_path: Path) -> None:
    matrix(tmp_path, 3, "h264", 3, QUICK_MESSAGES)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "lossless"])
def test_a_recorder_killed_at_fifty_random_moments_loses_less_than_a_second_and_needs_no_repair(
    tmp_path: Path, codec: str
) -> None:
    matrix(tmp_path, 50, codec, 0)
