"""`robot-stack record`: the running graph and its recorder as the session's rig."""

import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from robot_stack import episodes
from robot_stack.build import robot_key
from robot_stack.collect.dataset import next_number, require_same
from robot_stack.collect.quality import check
from robot_stack.collect.session import Key, News, Session
from robot_stack.collect.terminal import Terminal, keys
from robot_stack.config.commands import RecordCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.console.start import console_if
from robot_stack.data.findings import Finding
from robot_stack.data.log_reader import read_log
from robot_stack.data.picture_stream import require_encoder
from robot_stack.episodes import Ended
from robot_stack.errors import ConfigError, DataError, RobotStackError
from robot_stack.graph import RECORDER_NODE
from robot_stack.supervisor import Graph
from robot_stack.types import Mode, Request

ASK_S, ANSWER_S = 0.25, 10.0
"""The recorder is asked how it stands this often, and has so long to answer."""

VERBS = ("start", "stop", "discard", "status", "mark_success", "mark_failure")
"""The services of recorder_node."""

SILENT: dict[str, Any] = {"path": "", "seconds": 0.0, "mark": "", "messages": {}, "drops": {}, "free_bytes": -1}
"""The status of a recorder that does not answer."""


class GraphRig:
    """Records into `folder` with `graph`, by the settings of `command`."""

    def __init__(self, graph: Graph, command: RecordCommand, folder: Path) -> None:
        self._graph, self._command, self._folder = graph, command, folder
        graph.operator.expect(*(f"/{RECORDER_NODE}/{verb}" for verb in VERBS))
        self._path, self._scenario = folder, ""
        self._began, self._asked, self._nearest = 0.0, 0.0, float("inf")
        self._status: dict[str, Any] = {}
        self._rates: dict[str, float] = {}

    def prepare(self, number: int, scenario: str) -> None:
        """See `session.Rig`."""
        self._path, self._scenario = self._folder / f"{number:03d}_{scenario}", scenario
        episodes.put_back(self._graph, number, scenario)
        self._graph.operator.name_log(self._path, scenario)
        self._status, self._rates, self._nearest = {}, {}, float("inf")

    def begin(self) -> str:
        """See `session.Rig`."""
        graph = self._graph
        if begun := self._ask()["path"]:
            self._path = Path(begun)
        else:
            graph.start_log(self._path, self._scenario)
        try:
            mode = graph.arm(Request.ARM_POLICY if graph.run.bundle else Request.ARM_TELEOP).verdict.mode
        except RobotStackError:
            graph.stop_log()
            self._call("discard")
            raise
        if graph.run.world:
            graph.director.begin()
        self._began = time.monotonic()
        return f"{self._scenario}: armed ({mode.value}), log {self._path}"

    def news(self) -> News:
        """See `session.Rig`."""
        self._graph.processes.require_alive()
        status = self._ask()
        return News(
            recording=bool(status["path"]),
            seconds=status["seconds"],
            rates_hz=self._rates,
            drops=sum(status["drops"].values()),
            free_bytes=status["free_bytes"],
            over=self._over() if self._began else "",
            fault=status["fault"],
        )

    def mark(self, label: str) -> None:
        """See `session.Rig`."""
        self._call(f"mark_{label}")

    def end(self) -> Ended:
        """See `session.Rig`."""
        graph = self._graph
        duration_s, mode = time.monotonic() - self._began, episodes.mode_of(graph)
        known, success = bool(graph.run.world), None
        if known:
            success = graph.director.truth().success
        episodes.to_rest(graph)
        self._began, self._asked = 0.0, 0.0
        status = self._ask()
        said = status["fault"] or "closed by somebody else"
        if status["path"]:
            try:
                said = graph.stop_log()
            except RobotStackError as error:
                said = str(error)
        nearest = self._nearest if known else None
        return Ended(self._scenario, self._path, mode, duration_s, success, nearest, said, status["mark"])

    def discard(self) -> str:
        """See `session.Rig`."""
        return self._call("discard")

    def check(self, ended: Ended) -> Sequence[Finding]:
        """See `session.Rig`."""
        try:
            return check(read_log(ended.log), self._command.quality, self._graph.run.robot)
        except DataError as error:
            return [Finding("damaged", "log", 1, 0, str(error))]

    def _over(self) -> str:
        settings, graph = self._graph.run.settings, self._graph
        if episodes.mode_of(graph) is Mode.STOP:
            return "stopped"
        if graph.run.world:
            truth = graph.director.truth()
            self._nearest = min(self._nearest, truth.clearance)
            if truth.success:
                return "success"
        return "time is up" if time.monotonic() - self._began >= settings.episode_s else ""

    def _ask(self) -> Mapping[str, Any]:
        """What the recorder said of itself within the last ASK_S."""
        now = time.monotonic()
        if self._status and now - self._asked < ASK_S:
            return self._status
        try:
            status = self._graph.operator.recorder_status(ANSWER_S)
        except RobotStackError as error:  # it may be started again; its log is cut then
            status = {**SILENT, "fault": str(error)}
        messages, before = status["messages"], self._status.get("messages", {})
        if before and status["path"] and now > self._asked:
            shown = [topic for topic in messages if topic.endswith("/image") or topic == "/joint_states"]
            span = now - self._asked
            self._rates = {t.removesuffix("/image").strip("/"): (messages[t] - before.get(t, 0)) / span for t in shown}
        self._status, self._asked = status, now
        return self._status

    def _call(self, verb: str) -> str:
        granted, said = self._graph.operator.trigger(f"/{RECORDER_NODE}/{verb}", ANSWER_S)
        if not granted:
            raise RobotStackError(f"recorder: {verb}: {said}")
        return said


def record(command: RecordCommand, pressed: Iterator[Key | None], terminal: Terminal) -> Generator[Ended]:
    """Start the graph, record the episodes of `command`, stop the graph; yields each episode that is kept.

    Raises ConfigError before any process starts where the folder, the robot or the codec does not fit.
    """
    episodes.check(command)
    folder = _folder(command)
    with Graph.start(command) as graph, console_if(command.run.console, graph.directory):
        folder = folder or graph.directory
        count = command.collect.count or len(command.run.episodes)
        rig = GraphRig(graph, command, folder)
        first = next_number(folder)
        session = Session(rig, command.collect, command.run.episodes, first, count, pressed, terminal, time.monotonic)
        try:
            yield from session.episodes()
        finally:
            episodes.to_rest(graph)


def _folder(command: RecordCommand) -> Path | None:
    """Where to; None: the folder of the run. Raises ConfigError when it has episodes that are not to be added to."""
    if command.collect.codec == "h264":
        require_encoder(command.collect.encoder)
    if not command.out:
        return None
    folder = Path(command.out).resolve()
    if not command.resume and (following := next_number(folder)):
        found = f"episodes up to number {following - 1}"
        raise ConfigError(f"out: found {found} in {folder}, allowed a new folder, or resume=true to add to them")
    require_same(folder, robot_key(command.robot), load_robot(command.robot).joint_names, command.task.instruction)
    return folder


def main(command: RecordCommand) -> int:
    """The command. Where no terminal and no pipe sends keys, nobody is waited for."""
    settings = command.collect
    if not sys.stdin.isatty():
        command = replace(command, collect=replace(settings, unattended=True))
    terminal = Terminal(settings.prompt)
    with closing(keys(settings)) as pressed, closing(record(command, pressed, terminal)) as kept:
        for ended in kept:
            terminal.say(str(ended))
    return 0
