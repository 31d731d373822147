"""Writes what the graph says to an episode log: the bytes as they came (pictures of `record` as video), one log an episode.

From a shell, and so from whatever a gamepad, a pedal or a page can call:

    ros2 service call /recorder_node/start std_srvs/srv/Trigger            (into the run's folder, numbered; the parameter `path`
                                                                           names another, with a permit: `robot_stack.seal`)
    ros2 service call /recorder_node/mark_success std_srvs/srv/Trigger     (or mark_failure; the last one counts)
    ros2 service call /recorder_node/stop std_srvs/srv/Trigger
    ros2 service call /recorder_node/discard std_srvs/srv/Trigger          (the log that is open, or the last one, to .trash)
    ros2 service call /recorder_node/status std_srvs/srv/Trigger           (JSON)
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from std_srvs.srv import Trigger

from robot_stack import build
from robot_stack.collect.recorder import MARKS, Recorder
from robot_stack.data.log import LogMetadata
from robot_stack.errors import DataError
from robot_stack.graph import topics
from robot_stack.nodes.lifecycle import ManagedNode, run_node


class RecorderJob:
    """Hears every topic all the time; between `start` and `stop` it goes to the log, which is closed when the node ends."""

    def __init__(self, node: ManagedNode, run: build.Run) -> None:
        self._node = node
        self._run = run
        self._recorder = Recorder(run.collect, partial(node.sayer.leave, "log"), node.fail)
        node.text("path", refusal=lambda path: node.door.refuses(f"path {path}") if path else "")
        node.text("scenario")
        cameras = [camera.name for camera in run.robot.cameras]
        self._found = {topic.name: node.record(topic, self._taker(topic.name)) for topic in topics(cameras)}
        served: dict[str, Callable[[], str]] = {
            "start": self._start,
            "stop": self._recorder.stop,
            "discard": self._recorder.discard,
            "status": self._status,
            **{f"mark_{label}": partial(self._recorder.mark, label) for label in MARKS},
        }
        for name, act in served.items():
            node.serve(Trigger, f"~/{name}", partial(_answer, act))

    def activate(self) -> None:
        """Ready to record; `start` begins a log. Who hears seldom waits for the thread that encodes."""
        sys.setswitchinterval(0.001)

    def deactivate(self) -> None:
        """Close the log that is open."""
        if self._recorder.status()["path"]:
            self._node.get_logger().info(self._recorder.stop())

    def close(self) -> None:
        """End the threads that encode and write."""
        self._recorder.close()

    def _taker(self, topic: str) -> Callable[[bytes], None]:
        put, now = self._recorder.put, time.monotonic_ns
        return lambda data: put(topic, now(), data)

    def _start(self) -> str:
        path = Path(self._node.text("path") or _next(Path(self._run.folder)))
        return self._recorder.start(path, self._metadata())

    def _status(self) -> str:
        """`unfound`: the topics of which it has found no publisher; what they carry now is in no log. `heard_ns`: when each was
        last heard (null: never); of one that was killed and started again DDS tells late, and counts the dead one for seconds."""
        found = {name: ask() for name, ask in self._found.items()}
        unfound = [name for name, (published, _) in found.items() if not published]
        heard_ns = {name: last_ns for name, (_, last_ns) in found.items()}
        return json.dumps(self._recorder.status() | {"unfound": unfound, "heard_ns": heard_ns})

    def _metadata(self) -> LogMetadata:
        run = self._run
        settings = {name: asdict(getattr(run, name)) for name in ("settings", "safety", "monitor", "detector", "task", "collect")}
        settings |= {"policy": {"bundle": run.bundle, "shadow": run.shadow}}
        return LogMetadata(run.robot_file, run.robot.joint_names, run.instruction, self._node.text("scenario"), settings)


def _answer(act: Callable[[], str], _: Any, response: Any) -> Any:
    try:
        response.message, response.success = act(), True
    except DataError as error:
        response.message = str(error)
    return response


def _next(folder: Path) -> Path:
    taken = [int(path.name.removeprefix("episode_")) for path in folder.glob("episode_[0-9]*") if path.name[8:].isdigit()]
    return folder / f"episode_{max(taken, default=-1) + 1:04d}"


def make_job(node: ManagedNode) -> RecorderJob:
    """The job of a recorder_node configured by its run file."""
    return RecorderJob(node, build.load(node.fixed("config")))


if __name__ == "__main__":
    sys.exit(run_node("recorder_node", make_job))
