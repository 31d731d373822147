"""Ctrl-C in the middle of an episode, with the arm moving."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_stack.data.log import read_log
from robot_stack.learn import log_folders
from robot_stack.types import Mode

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
pytest.importorskip("drivers.sim_world", reason="needs the simulated world (extra `sim`)")

PATIENT = (
    "safety.joints_stale_s=0.5",
    "safety.joints_lost_s=1",
    "safety.hazards_stale_s=3",
    "safety.monitor_silent_s=3",
    "safety.teleop_silent_s=3",
)
"""Another process of a busy test machine may be late by that much."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_an_interrupted_recording_leaves_a_closed_log_a_still_arm_and_no_process(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "robot_stack", "record", f"run.log_dir={tmp_path}", "run.start_s=120", *PATIENT]
    environment = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        armed = child.stdout.readline()
        child.send_signal(number)
        said = child.stderr.read()
        assert child.wait() == 130, said
    assert "armed (teleop)" in armed and "interrupted" in said
    (folder,) = log_folders(tmp_path)
    log = read_log(folder)
    steps = list(log.steps())
    assert log.complete and steps[-1].verdict.mode in (Mode.DISARMED, Mode.STOP)
    assert steps[-1].verdict.command.qd is not None and not steps[-1].verdict.command.qd.any()
    assert not [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _text(entry)]


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""
