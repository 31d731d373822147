"""Plays episode logs on topics of their own names behind a prefix, at their true times: for RViz, Foxglove or any other reader.

The messages are the recorded bytes. They are old: their stamps are those of the recording, so a robot that should hear them
refuses their chunks as stale. It does not come to that: without a prefix the player does not speak beside a robot.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from robot_stack.config import plain
from robot_stack.config.playback import Playback, PlaybackSettings
from robot_stack.data.log_reader import EpisodeLog, RawMessage, read_log
from robot_stack.data.wire import type_of
from robot_stack.discovery import require_known_network
from robot_stack.errors import ConfigError, RobotStackError
from robot_stack.graph import ARM_NODE, COMMAND, VERDICT, Topic
from robot_stack.keyboard import pressed
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.qos import every
from robot_stack.replay.playback import Player

NAME = "playback_node"
DISCOVERY_S = 1.5
"""How long to listen for a robot before the first message that could be taken for its own."""
POLL_S = 0.05


class PlaybackNode:
    """The publishers of one log. Raises ConfigError when, without a prefix, a robot is on the graph."""

    def __init__(self, settings: PlaybackSettings) -> None:
        self._prefix = settings.namespace
        self._node = Node(NAME, namespace=settings.namespace, start_parameter_services=False)
        self._publishers: dict[str, Any] = {}
        if not self._prefix:
            _until(lambda: False, DISCOVERY_S)
        self.require_alone()

    def open(self, log: EpisodeLog, wait_s: float) -> None:
        """Have a publisher for each topic of `log`, and wait up to `wait_s` for a reader of each new one."""
        new = [name for name in log.topics if name not in self._publishers]
        for name in new:
            topic = Topic(self._prefix + name, type_of(name), NAME, True, 1, 200, "reliable: any reader is served, and whole")
            self._publishers[name] = self._node.create_publisher(message_class(topic.type), topic.name, every(topic))
        _until(lambda: all(self._publishers[name].get_subscription_count() for name in new), wait_s)

    def send(self, raw: RawMessage) -> None:
        """Publish the recorded bytes."""
        self._publishers[raw.topic].publish(raw.data)

    def require_alone(self) -> None:
        """Raises ConfigError when the topics are a robot's own and one is there: an arm_node, or whoever publishes as one."""
        if self._prefix:
            return
        found = [name for name, _ in self._node.get_node_names_and_namespaces() if name == ARM_NODE]
        for topic in (VERDICT, COMMAND):
            others = [info.node_name for info in self._node.get_publishers_info_by_topic(topic.name)]
            found += [name for name in others if name != NAME]
        if found:
            raise ConfigError(
                f"playback.namespace: found '' while {found[0]} is on the graph, allowed a prefix (/replay) beside a robot; "
                "leave it out, or stop the robot first"
            )

    def close(self) -> None:
        """Leave the graph once readers have what was sent."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=1.0))
        self._node.destroy_node()


def play(playback: Playback, stopped: Sequence[int]) -> int:
    """Play the logs of `playback` until a signal is in `stopped`; the number of messages. Raises DataError, ConfigError."""
    settings = playback.settings
    logs = [read_log(Path(path)) for path in playback.logs]
    node = PlaybackNode(settings)
    with pressed() as key:

        def wait(timeout_s: float) -> str:
            node.require_alone()
            return "q" if stopped else key(timeout_s)

        def send(raw: RawMessage) -> None:
            node.send(raw)
            if player.paused and raw.topic == VERDICT.name:
                tick = deserialize_message(raw.data, message_class(VERDICT.type))
                print(f"{(raw.t_ns - player.begin_ns) / 1e9:9.3f} s  {tick.status[0].message}", flush=True)

        player = Player(settings, send, time.monotonic_ns, wait)
        try:
            for log in _again(logs, settings.loop):
                node.open(log, settings.wait_s)
                print(f"playing {log.name} on {settings.namespace or '/'}", flush=True)
                player.play(log)
                if player.ended:
                    break
        finally:
            node.close()
    return player.sent


def _again(logs: Sequence[EpisodeLog], loop: bool) -> Iterator[EpisodeLog]:
    yield from logs
    while loop:
        yield from logs


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 after the last message, a key or a signal; 2 after a known fault, said in one line."""
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stopped.append(number))
    try:
        require_known_network(os.environ)
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        sent = play(plain.read(Playback, Path(arguments[0])), stopped)
    except RobotStackError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    print(f"published {sent} messages", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
