"""Writes what the graph says to an episode log: the bytes as they came, one log an episode, started and stopped by services.

From a shell:

    ros2 param set /recorder_node path runs/1/nominal     (optional; default: the run's folder, numbered)
    ros2 service call /recorder_node/start std_srvs/srv/Trigger
    ros2 service call /recorder_node/stop std_srvs/srv/Trigger
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from std_srvs.srv import Trigger

from robot_stack import build
from robot_stack.data.log import LogMetadata, LogSummary, LogWriter
from robot_stack.errors import DataError
from robot_stack.graph import POLICY_CHUNK, TELEOP_CHUNK, topics
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.sayer import Sayer

CHUNKS_BEFORE = 5
"""A log begun while the arm moves holds this many chunks from before: its first ticks play one of them."""


class RecorderJob:
    """Hears every topic all the time; between `start` and `stop` the bytes go to the log, which is closed when the node ends."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._node = node
        self._run = run
        self._sayer = Sayer(node.get_logger())
        self._writer: LogWriter | None = None
        self._before = {topic.name: deque[tuple[int, bytes]](maxlen=CHUNKS_BEFORE) for topic in (POLICY_CHUNK, TELEOP_CHUNK)}
        node.text("path")
        node.text("scenario")
        for topic in topics([camera.name for camera in run.robot.cameras]):
            node.record(topic, self._taker(topic.name))
        node.serve(Trigger, "~/start", self._start)
        node.serve(Trigger, "~/stop", self._stop)

    def activate(self) -> None:
        """Ready to record; `start` begins a log."""

    def deactivate(self) -> None:
        """Close the log that is open."""
        if self._writer is not None:
            self._node.get_logger().info(self._finish(self._writer))

    def close(self) -> None:
        """Nothing else to give back."""

    def _taker(self, topic: str) -> Callable[[bytes], None]:
        before = self._before.get(topic)

        def take(data: bytes) -> None:
            writer, now_ns = self._writer, time.monotonic_ns()
            if before is not None:
                before.append((now_ns, data))
            if writer is None:
                return
            try:
                writer.write(topic, now_ns, data)
            except DataError as error:
                self._sayer.say("log", str(error))

        return take

    def _start(self, _: Any, response: Any) -> Any:
        if self._writer is not None:
            response.message = f"{self._writer.path} is being written; stop it first"
            return response
        path = Path(self._node.text("path") or _next(Path(self._run.folder)))
        try:
            writer = LogWriter(path, self._metadata())
            for topic, kept in self._before.items():
                for t_ns, data in kept:
                    writer.write(topic, t_ns, data)
        except DataError as error:
            response.message = str(error)
            return response
        self._writer = writer
        response.success, response.message = True, str(path)
        return response

    def _stop(self, _: Any, response: Any) -> Any:
        if self._writer is None:
            response.message = "no log is being written; start one first"
            return response
        try:
            response.message = self._finish(self._writer)
            response.success = True
        except DataError as error:
            response.message = str(error)
        return response

    def _finish(self, writer: LogWriter) -> str:
        self._writer = None
        return _sentence(writer.path, writer.close())

    def _metadata(self) -> LogMetadata:
        run = self._run
        settings = {name: asdict(getattr(run, name)) for name in ("settings", "safety", "monitor", "detector", "task")}
        settings |= {"policy": {"bundle": run.bundle, "shadow": run.shadow}}
        return LogMetadata(run.robot_file, run.robot.joint_names, run.instruction, self._node.text("scenario"), settings)


def _next(folder: Path) -> Path:
    taken = [int(path.name.removeprefix("episode_")) for path in folder.glob("episode_[0-9]*") if path.name[8:].isdigit()]
    return folder / f"episode_{max(taken, default=-1) + 1:04d}"


def _sentence(path: Path, summary: LogSummary) -> str:
    drops = {topic: count for topic, count in summary.drops.items() if count}
    return f"{path}: {sum(summary.messages.values())} messages, {f'dropped {drops}' if drops else 'no drops'}"


def make_job(node: ManagedNode) -> RecorderJob:
    """The job of a recorder_node configured by its run file."""
    return RecorderJob(node, build.load(node.text("config")))


if __name__ == "__main__":
    sys.exit(run_node("recorder_node", make_job))
