"""Processes of a graph: logged, watched, stopped by stronger and stronger signals, gone with their parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from robot_stack.errors import RobotStackError
from robot_stack.graph import Process
from robot_stack.processes import ProcessGroup
from tests.waiting import until

STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""
GENTLE = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
PARENT = """
import sys, os
from pathlib import Path
from robot_stack.graph import Process
from robot_stack.processes import ProcessGroup
group = ProcessGroup(os.environ, Path(sys.argv[1]))
group.start(Process("child", "gentle"))
print(group.pid("child"), flush=True)
input()
"""


@pytest.fixture
def group(tmp_path: Path) -> ProcessGroup:
    for name, text in (("stubborn", STUBBORN), ("gentle", GENTLE), ("broken", "raise SystemExit('no such camera')")):
        (tmp_path / f"{name}.py").write_text(text)
    return ProcessGroup({**os.environ, "PYTHONPATH": str(tmp_path)}, tmp_path)


def test_a_process_that_ignores_every_polite_signal_is_killed(group: ProcessGroup) -> None:
    group.start(Process("stubborn", "stubborn"))
    until(lambda: "ready" in group.tail("stubborn"))
    group.stop(["stubborn"], patience_s=0.1)
    assert group.dead() == {"stubborn": -signal.SIGKILL}


def test_a_process_that_listens_ends_at_the_first_signal(group: ProcessGroup) -> None:
    group.start(Process("gentle", "gentle"))
    until(lambda: "ready" in group.tail("gentle"))
    group.stop(["gentle"], patience_s=30.0)
    assert "KeyboardInterrupt" in group.tail("gentle")


def test_a_process_that_ended_is_named_with_the_end_of_its_log(group: ProcessGroup) -> None:
    group.start(Process("broken", "broken"))
    until(lambda: bool(group.dead()))
    with pytest.raises(RobotStackError, match="broken: ended with 1.*\n.*no such camera"):
        group.require_alive()


def test_processes_end_when_the_one_that_started_them_is_killed(group: ProcessGroup, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    env = {**os.environ, "PYTHONPATH": f"{root}:{tmp_path}"}
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdin is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    parent.stdout.close()
    parent.stdin.close()
