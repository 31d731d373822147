"""`record` on the real graph: the simulated arm, a scripted human, scripted keys, and a recorder whose disk is full."""

import resource
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
pytest.importorskip("drivers.sim_world", reason="needs the simulated world (extra `sim`)")
pytest.importorskip("av", reason="H.264 needs PyAV (extra `train`)")

import time

from robot_stack.collect.quality import check
from robot_stack.collect.record import GraphRig
from robot_stack.collect.session import Key, News, Session
from robot_stack.collect.terminal import nobody
from robot_stack.config.collect import QualitySettings
from robot_stack.config.commands import RecordCommand, ReplayCommand
from robot_stack.config.load import load
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.log import read_log
from robot_stack.data.picture_stream import STREAMED
from robot_stack.errors import RobotStackError
from robot_stack.graph import RECORDER_NODE
from robot_stack.replay.command import replay
from robot_stack.supervisor import Graph
from robot_stack.types import Mode, Step

pytestmark = pytest.mark.slow  # by default `test_interrupt` records on a real graph
PATIENCE_S = 60.0
SECOND_NS = 1_000_000_000
SETTINGS = (
    "collect.pre_trigger_s=1",
    "run.episode_s=600",
    "run.start_s=120",
    "safety.joints_stale_s=1",
    "safety.joints_lost_s=3",
    "safety.teleop_silent_s=3",
    "safety.monitor_silent_s=3",
    "safety.hazards_stale_s=3",
    "safety.fallback_silent_s=2",
    "monitor.frame_age_s=2",
)
"""Processes of a busy test machine may be late."""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    with Graph.start(load(RecordCommand, SETTINGS), tmp_path_factory.mktemp("graph")) as graph:
        yield graph


@dataclass
class Watched:
    """What the session says; and a rig is looked at through it, so that a script knows how the recording stands."""

    lines: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def show(self, text: str) -> None:
        pass

    def prompt(self, word: str) -> None:
        self.prompts.append(word)


def script(graph: Graph, rig: GraphRig, watched: Watched) -> Iterator[Key | None]:
    """Takes of at least a second and a half, a second apart: one a success, one discarded, one without a mark; bad ones marked.

    One that the robot ended before a key did, as it may on a busy machine, is taken back.
    """
    presses, begun = [Key.SUCCESS, Key.DISCARD, Key.GO], False
    while True:
        match watched.prompts[-1]:
            case "ready" if begun:
                begun = False
                yield Key.DISCARD
            case "ready":
                ready_ns = time.monotonic_ns()
                graph.wait_for(partial(after, ready_ns + SECOND_NS), PATIENCE_S, "a second before the button")
                yield Key.GO if presses else Key.QUIT
            case "bad":
                yield Key.MARK
            case "recording" if presses and long_enough(rig.news()):
                begun = False
                yield presses.pop(0)
            case word:
                begun = begun or word == "recording"
                yield next(nobody())


def after(t_ns: int, step: Step) -> bool:
    return step.t_ns > t_ns


def long_enough(news: News) -> bool:
    return news.seconds > 2.5 and bool(news.rates_hz)


def test_keys_record_two_episodes_one_of_them_marked_and_discard_a_third(graph: Graph, tmp_path: Path) -> None:
    command, watched = load(RecordCommand, SETTINGS), Watched()
    rig = GraphRig(graph, command, tmp_path)
    keys = script(graph, rig, watched)
    session = Session(rig, command.collect, ["nominal", "obstacle"], 0, 9, keys, watched, time.monotonic)
    assert len(list(session.episodes())) >= 2
    assert "001_obstacle" in {path.name for path in (tmp_path / ".trash").iterdir()}, watched.lines
    entries = list(Catalogue.open(tmp_path).entries())
    assert [(entry.name, entry.mark) for entry in entries] == [("000_nominal", "success"), ("001_obstacle", "")]
    assert "nominal: armed (teleop)" in watched.lines[0]
    for entry in entries:
        log = read_log(Path(entry.key))
        steps = list(log.steps())
        armed = [step for step in steps if step.verdict.mode is Mode.TELEOP]
        assert log.complete and log.metadata.settings["collect"]["codec"] == "h264"
        assert armed and steps[-1].verdict.mode is Mode.DISARMED
        assert {raw.typename for raw in log.stored({"/scene/image", "/wrist/image"})} == {STREAMED}
        assert {value.rgb.shape for _, _, value in log.iterate({"/scene/image"})} == {(128, 128, 3)}
    began = next(log.messages({"/arm/verdict"})).t_ns
    pressed = armed[0].t_ns
    assert pressed - began > 0.5 * SECOND_NS, "what happened before the button is there"
    assert "verdicts bit-equal" in replay(ReplayCommand(log=str(tmp_path)))


def test_a_recorder_whose_disk_takes_no_more_says_so_and_the_arm_and_the_next_log_go_on(graph: Graph, tmp_path: Path) -> None:
    pid = graph.processes.pid(RECORDER_NODE)
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    graph.start_log(tmp_path / "full")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
    rig = GraphRig(graph, load(RecordCommand, SETTINGS), tmp_path)
    try:
        while not (fault := rig.news().fault):
            next(nobody())
        before = graph.operator.step()
        graph.wait_for(lambda step: before is None or step.t_ns > before.t_ns + SECOND_NS // 2, PATIENCE_S, "ticks that go on")
        with pytest.raises(RobotStackError, match="File too large"):
            graph.stop_log()
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    assert "File too large after 200000 bytes" in fault and "free some space" in fault
    assert list(read_log(tmp_path / "full").iterate()), "what was written can be read"
    graph.start_log(tmp_path / "next")
    assert "no drops" in graph.stop_log() and read_log(tmp_path / "next").complete


def test_a_camera_that_falls_silent_leaves_a_good_log_and_is_found_by_the_gate(graph: Graph, tmp_path: Path) -> None:
    log = graph.start_log(tmp_path / "silent")
    graph.wait_for(lambda step: step.inputs.joints is not None, PATIENCE_S)
    killed_ns = graph.kill("camera_node_wrist")
    graph.wait_for(lambda step: step.t_ns > killed_ns + SECOND_NS // 2, PATIENCE_S, "ticks that go on", killed_ns)
    graph.stop_log()
    assert read_log(log).complete
    found = check(read_log(log), QualitySettings(least_s=0.0), graph.run.robot)
    assert "wrist" in {finding.where for finding in found if finding.name == "camera gap"}


def test_a_policy_has_the_arm_while_its_episode_is_recorded(bundle: Path, tmp_path: Path) -> None:
    command = load(RecordCommand, [f"bundle={bundle}", "safety.policy_silent_s=3", *SETTINGS])
    with Graph.start(command, tmp_path / "graph") as graph:
        rig = GraphRig(graph, command, tmp_path)
        rig.prepare(0, "nominal")
        assert "armed (policy)" in rig.begin()
        asked_ns = time.monotonic_ns()
        graph.wait_for(lambda step: step.t_ns > asked_ns + SECOND_NS, PATIENCE_S, "a second of it")
        ended = rig.end()
    steps = list(read_log(ended.log).steps())
    assert {Mode.POLICY, Mode.DISARMED} <= {step.verdict.mode for step in steps}
    assert any(step.verdict.mode is Mode.POLICY and step.inputs.chunk is not None for step in steps)
