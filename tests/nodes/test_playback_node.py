"""`robot-stack replay publish=true` as a user starts it, and a reader on the same graph that sees what the log holds."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

import rclpy
import rclpy.context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_stack.data.log import EpisodeLog, read_log
from robot_stack.data.log_reader import RawMessage
from robot_stack.data.wire import type_of
from robot_stack.graph import ARM_NODE, VERDICT, Topic
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.qos import every
from tests.ros_domain import own_domain

GOLDEN = Path(__file__).parents[1] / "golden" / "frozen"
PATIENCE_S = 60.0


class Reader:
    """A node that keeps the bytes of every message of `topics` behind `prefix`, on a domain of its own."""

    def __init__(self, domain: int, prefix: str = "", topics: tuple[str, ...] = (), name: str = "reader") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._context = rclpy.context.Context()
        rclpy.init(context=self._context, domain_id=domain, args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, context=self._context, use_global_arguments=False, start_parameter_services=False)
        for topic in topics:
            kind = Topic(prefix + topic, type_of(topic), "", True, 1, 5000, "")
            self.node.create_subscription(message_class(kind.type), kind.name, self._taker(topic), every(kind), raw=True)
        self._closing = threading.Event()
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _taker(self, topic: str) -> Callable[[bytes], None]:
        return lambda data: self.heard.append((topic, bytes(data)))

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with own_domain(tmp_path_factory.mktemp("playback")) as (domain, _):
        yield domain


@pytest.fixture(scope="module")
def log() -> EpisodeLog:
    return read_log(GOLDEN)


def replay(domain: int, *overrides: str, keys: str = "") -> "subprocess.CompletedProcess[str]":
    """The command, to its end; `keys` are pressed at once."""
    command = [sys.executable, "-m", "robot_stack", "replay", f"log={GOLDEN}", "publish=true", f"playback.domain={domain}"]
    asked = [*command, "playback.wait_s=30", *overrides]
    return subprocess.run(asked, input=keys, capture_output=True, text=True, timeout=PATIENCE_S)


def by_topic(messages: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for topic, data in messages:
        found.setdefault(topic, []).append(data)
    return found


def recorded(log: EpisodeLog, wanted: Callable[[RawMessage], bool] = lambda raw: True) -> dict[str, list[bytes]]:
    """The bytes in `log` as DDS delivers them: filled with zeros to a multiple of four (DDSI-RTPS 9.4.2)."""
    return by_topic([(raw.topic, raw.data + bytes(-len(raw.data) % 4)) for raw in log.messages() if wanted(raw)])


def test_a_reader_gets_every_message_bit_equal_and_in_order(domain: int, log: EpisodeLog) -> None:
    reader = Reader(domain, "/replay", log.topics)
    try:
        ended = replay(domain, "playback.rate=4")
    finally:
        reader.close()
    assert ended.returncode == 0, ended.stderr
    assert by_topic(reader.heard) == recorded(log)
    assert f"published {len(list(log.messages()))} messages" in ended.stdout


@pytest.mark.slow
def test_a_reader_gets_the_part_of_the_log_that_was_asked_for_behind_the_prefix(domain: int, log: EpisodeLog) -> None:
    reader = Reader(domain, "/yesterday/run", (VERDICT.name,))
    asked = ("playback.namespace=/yesterday/run", "playback.start_s=1", "playback.end_s=1.5", "playback.wait_s=3")
    try:
        ended = replay(domain, *asked)
    finally:
        reader.close()
    begin = next(log.messages({VERDICT.name})).t_ns
    meant = recorded(log, lambda raw: raw.topic == VERDICT.name and 1e9 <= raw.t_ns - begin <= 1.5e9)
    assert by_topic(reader.heard) == meant and len(meant[VERDICT.name]) == 51, ended.stderr


@pytest.mark.slow
def test_keys_step_through_the_log_and_say_each_tick(domain: int, log: EpisodeLog) -> None:
    reader = Reader(domain, "/replay", (VERDICT.name,))
    try:
        ended = replay(domain, "playback.step=true", "playback.loop=true", "playback.wait_s=3", keys="tttq")
    finally:
        reader.close()
    said = [line for line in ended.stdout.splitlines() if " s  " in line]
    assert ended.returncode == 0 and len(said) == 3 and said[0].split(maxsplit=2)[2].startswith("disarmed")
    assert [data for _, data in reader.heard] == recorded(log)[VERDICT.name][:3]


def test_without_a_prefix_the_player_refuses_to_speak_beside_a_robot(domain: int) -> None:
    robot = Reader(domain, name=ARM_NODE)
    try:
        ended = replay(domain, "playback.namespace=", "playback.wait_s=0")
    finally:
        robot.close()
    assert ended.returncode == 2
    assert f"found '' while {ARM_NODE} is on the graph" in ended.stderr


@pytest.mark.slow
def test_without_a_prefix_the_player_falls_silent_when_a_robot_comes_under_another_name(domain: int, log: EpisodeLog) -> None:
    reader = Reader(domain, "", (VERDICT.name,))
    result: list[subprocess.CompletedProcess[str]] = []
    playing = threading.Thread(
        target=lambda: result.append(replay(domain, "playback.namespace=", "playback.loop=true", "playback.wait_s=0"))
    )
    playing.start()
    try:
        while not reader.heard and playing.is_alive():
            playing.join(0.05)
        reader.node.create_publisher(message_class(VERDICT.type), VERDICT.name, every(VERDICT))
        playing.join(PATIENCE_S)
    finally:
        reader.close()
    assert result[0].returncode == 2
    assert "while reader is on the graph" in result[0].stderr
