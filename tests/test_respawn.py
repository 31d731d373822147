"""A process that died is started again, later each time, and not for ever; the arm's never. Real processes, told times."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_stack.diagnostics import Level
from robot_stack.errors import RobotStackError
from robot_stack.graph import ARM_NODE, Process, Respawn
from robot_stack.processes import ProcessGroup
from robot_stack.respawn import Respawner
from tests.waiting import until

S = 1_000_000_000
RULE = Respawn(tries=3, wait_s=1.0, most_s=3.0, well_s=60.0)
ALIVE = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"


class Watched:
    """A group of processes under a respawner that looks when told to, at the time it is told."""

    def __init__(self, folder: Path) -> None:
        for name, text in (("alive", ALIVE), ("failing", "raise SystemExit(3)"), ("done", "raise SystemExit(0)")):
            (folder / f"{name}.py").write_text(text)
        self.group = ProcessGroup({**os.environ, "PYTHONPATH": str(folder)}, folder)
        self.said: list[str] = []
        self.active = True

    def start(self, *processes: Process) -> Respawner:
        self.t0_ns = time.monotonic_ns()
        for process in processes:
            self.group.start(process)
        self.respawner = Respawner(self.group, processes, lambda node: self.active, self.said.append, lambda _: None)
        return self.respawner

    def ended(self, name: str) -> None:
        until(lambda: name in self.group.dead())

    def look(self, at_s: float) -> None:
        self.respawner.look(self.t0_ns + round(at_s * S))

    def levels(self) -> list[Level]:
        return [reading.level for reading in self.respawner.readings()]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.group.stop(made.group.names(), patience_s=0.0)


def test_a_killed_process_is_started_again_after_its_wait_and_it_is_said_when_it_is_active(watched: Watched) -> None:
    watched.start(Process("camera", "alive", "camera", respawn=RULE))
    first = watched.group.pid("camera")
    watched.group.kill("camera")
    watched.look(5.0)
    assert watched.said == ["camera: ended with -9; it is started again in 1.0 s (1 of 3)"]
    watched.look(5.9)
    assert "camera" in watched.group.dead() and watched.levels() == [Level.WARN]
    watched.group.require_alive()
    watched.active = False
    watched.look(6.0)
    assert watched.group.pid("camera") != first and not watched.group.dead()
    watched.look(6.5)
    assert watched.levels() == [Level.WARN]
    watched.active = True
    watched.look(8.0)
    assert watched.said[-1] == "camera: active again after 2.0 s" and watched.levels() == [Level.OK]


def test_each_try_in_a_row_waits_longer_and_the_last_is_the_last(watched: Watched) -> None:
    watched.start(Process("policy", "failing", "policy", respawn=RULE))
    at = 1.0
    for wait_s in (1.0, 2.0, 3.0):
        watched.ended("policy")
        watched.look(at)
        assert f"started again in {wait_s:.1f} s" in watched.said[-1]
        at += wait_s
        watched.look(at)
    watched.ended("policy")
    watched.look(at + 1.0)
    assert "it is not started again, it was 3 times in a row" in watched.said[-1] and watched.levels() == [Level.ERROR]
    with pytest.raises(RobotStackError, match="policy: ended with 3"):
        watched.group.require_alive()
    watched.look(at + 100.0)
    assert len(watched.said) == 4, "once is enough"


def test_one_that_ran_well_begins_a_new_row(watched: Watched) -> None:
    watched.start(Process("camera", "alive", "camera", respawn=RULE))
    for begin in (100.0, 200.0):
        watched.group.kill("camera")
        watched.look(begin)
        assert watched.said[-1].endswith("in 1.0 s (1 of 3)")
        watched.look(begin + 1.0)


def test_a_process_that_ended_as_asked_is_left_alone(watched: Watched) -> None:
    watched.start(Process("recorder", "done", "recorder", respawn=RULE))
    watched.ended("recorder")
    watched.look(1.0)
    watched.look(100.0)
    assert "as it was asked to" in watched.said[0] and len(watched.said) == 1 and watched.group.dead() == {"recorder": 0}


def test_a_dead_arm_node_is_said_and_stays_dead(watched: Watched) -> None:
    watched.start(Process(ARM_NODE, "alive", ARM_NODE))
    watched.group.kill(ARM_NODE)
    watched.look(1.0)
    watched.look(100.0)
    assert "the watchdog of its driver stops the arm" in watched.said[0] and watched.group.dead() == {ARM_NODE: -signal.SIGKILL}
    with pytest.raises(RobotStackError, match=ARM_NODE):
        watched.group.require_alive()


def test_what_a_process_printed_before_it_died_stays_in_its_log(watched: Watched) -> None:
    watched.start(Process("camera", "alive", "camera", respawn=RULE))
    until(lambda: "ready" in watched.group.tail("camera"))
    watched.group.kill("camera")
    watched.look(1.0)
    watched.look(2.0)
    until(lambda: watched.group.tail("camera").count("ready") == 2)


def test_a_graph_that_is_being_stopped_starts_nothing_again(watched: Watched) -> None:
    respawner = watched.start(Process("camera", "alive", "camera", respawn=RULE))
    watched.group.kill("camera")
    watched.look(1.0)
    respawner.hold()
    watched.look(100.0)
    assert "camera" in watched.group.dead()
    respawner.close()
