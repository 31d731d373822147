"""The operator's page beside a running graph, as a process of its own. The graph never needs it: it may be slow, and may die.

It hears with one DDS participant and asks with another, so that no picture stands before a STOP.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from robot_stack import build
from robot_stack.config import plain
from robot_stack.config.console import ConsoleCommand
from robot_stack.console.source import Answer, Board
from robot_stack.console.start import ADDRESS, SETTINGS
from robot_stack.console.view import Recording, View
from robot_stack.console.web import Console
from robot_stack.data.wire import chunk_value, frame_value, note_value, stamp_ns
from robot_stack.data.wire_step import step_value
from robot_stack.discovery import require_known_network
from robot_stack.errors import ContractError, RobotStackError
from robot_stack.graph import (
    ARM_NODE,
    DIAGNOSTICS,
    POLICY_CHOICE,
    POLICY_CHUNK,
    RECORDER_NODE,
    TELEOP_CHUNK,
    TELEOP_NODE,
    VERDICT,
    Topic,
    frames_topic,
)
from robot_stack.nodes.health import readings_of
from robot_stack.nodes.operator import Operator
from robot_stack.nodes.participant import Participant
from robot_stack.nodes.qos import newest
from robot_stack.nodes.sayer import Sayer
from robot_stack.seal import KEYS, read_keys
from robot_stack.secure.enclaves import CONSOLE
from robot_stack.types import Request

STOP_TRIES, STOP_S = 3, 0.4
"""DDS may lose an answer, and to ask for STOP again does no harm: so often, with so much time each."""
ANSWER_S, LOOK_S = 3.0, 1.0
RECORDER = {"record": "start", "finish": "stop", "success": "mark_success", "failure": "mark_failure", "discard": "discard"}
REQUESTS = {"disarm": Request.DISARM, "reset": Request.RESET}


class GraphSource:
    """What a graph says, on a `Board`, and how it is asked. Raises DriverError, ConfigError as the run file is."""

    def __init__(self, run: build.Run) -> None:
        self.board = Board()
        self._run = run
        self._operator = Operator(run.settings.domain, read_keys(Path(run.folder) / KEYS), run.settings.namespace)
        services = [f"/{ARM_NODE}/{request.value}" for request in Request]
        self._operator.expect(*services, *(f"/{RECORDER_NODE}/{name}" for name in (*RECORDER.values(), "status")))
        self._participant = Participant(CONSOLE, run.settings.domain, run.settings.namespace)
        self._sayer = Sayer(self._participant.node.get_logger())
        self._listen()
        self._participant.start()
        self._closing = threading.Event()
        self._watching = threading.Thread(target=self._watch_recorder, daemon=True)
        self._watching.start()

    def ask(self, what: str, text: str) -> Answer:
        """See `Source.ask`."""
        if what == "stop":
            return self._stop()
        if what == "arm":
            return self._arm()
        if what in REQUESTS:
            return Answer(*self._operator.request(REQUESTS[what], ANSWER_S))
        if what == "instruction":
            self._operator.instruct(text, ANSWER_S)
            return Answer(True, f"the policy is told: {text}")
        return Answer(*self._operator.trigger(f"/{RECORDER_NODE}/{RECORDER[what]}", ANSWER_S))

    def close(self) -> None:
        """Leave the graph."""
        self._closing.set()
        self._watching.join(2.0)
        self._participant.close()
        self._operator.close()

    def _stop(self) -> Answer:
        for _ in range(STOP_TRIES - 1):
            try:
                return Answer(*self._operator.request(Request.STOP, STOP_S))
            except RobotStackError:
                continue
        return Answer(*self._operator.request(Request.STOP, STOP_S))

    def _arm(self) -> Answer:
        """A human takes up the device anew, as for `robot-stack record`."""
        if self._run.bundle:
            return Answer(*self._operator.request(Request.ARM_POLICY, ANSWER_S))
        self._operator.restart(TELEOP_NODE)
        return Answer(*self._operator.request(Request.ARM_TELEOP, ANSWER_S))

    def _listen(self) -> None:
        names, board = self._run.robot.joint_names, self.board

        def hear_step(message: Any) -> None:
            step = step_value(message, stamp_ns(message), None)
            board.put(lambda view: view.with_step(step))

        def hear_chunk(message: Any) -> None:
            chunk = chunk_value(message, names)
            board.put(lambda view: view.with_chunk(chunk))

        def hear_note(message: Any) -> None:
            note = note_value(message)
            board.put(lambda view: view.with_note(note))

        def hear_health(message: Any) -> None:
            readings = readings_of(message)
            board.put(lambda view: view.with_readings(readings))

        for topic, hear in (
            (VERDICT, hear_step),
            (POLICY_CHUNK, hear_chunk),
            (TELEOP_CHUNK, hear_chunk),
            (POLICY_CHOICE, hear_note),
            (DIAGNOSTICS, hear_health),
        ):
            self._subscribe(topic, hear)
        for camera in self._run.robot.cameras:
            self._subscribe(frames_topic(camera.name), partial(self._hear_frame, camera.name))

    def _hear_frame(self, camera: str, message: Any) -> None:
        frame = frame_value(message)
        if frame.camera != camera:
            raise ContractError(f"found a picture of {frame.camera!r}, allowed {camera!r}")
        self.board.put_frame(frame)

    def _subscribe(self, topic: Topic, hear: Callable[[Any], None]) -> None:
        def guarded(message: Any) -> None:
            try:
                hear(message)
            except ContractError as error:
                self._sayer.say(topic.name, f"{topic.name}: not shown: {error}")

        self._participant.listen(topic, guarded, newest(topic))

    def _watch_recorder(self) -> None:
        while not self._closing.wait(LOOK_S):
            recording = self._recording()
            self.board.put(partial(View.with_recording, recording=recording))

    def _recording(self) -> Recording | None:
        try:
            now = self._operator.recorder_status(LOOK_S)
            return Recording(now["path"], now["seconds"], now["mark"], now["fault"], sum(now["drops"].values()))
        except (RobotStackError, ValueError, TypeError, KeyError):
            return None


def main(arguments: list[str]) -> int:
    """`arguments`: the private folder with the settings, where the address is left. Exit code 0 after a signal, else 2."""
    private = Path(arguments[0])
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stopped.set())
    sys.setswitchinterval(0.0005)  # a STOP waits no 5 ms for whoever encodes a picture
    try:
        require_known_network(os.environ)
        command = plain.read(ConsoleCommand, private / SETTINGS)
        run = build.load(command.graph)
        source = GraphSource(run)
        try:
            console = Console(run, source, command)
        except OSError as error:
            raise RobotStackError(f"console: {command.host}:{command.port} cannot be served: {error.strerror}") from error
        (private / ADDRESS).write_text(console.url + "\n", encoding="utf-8")
        stopped.wait()
        console.close()
        source.close()
    except RobotStackError as error:
        print(f"{CONSOLE}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
