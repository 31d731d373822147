"""What a node says about itself on /diagnostics, once a second: its process, its loops, what it hears, what its job adds.

It is judged and sent by the node's main loop. The threads that work only count, so nothing here is on the path of a tick.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import psutil

from robot_stack.data.wire import header, stamp_ns
from robot_stack.diagnostics import Hearing, Level, Reading, topic_reading
from robot_stack.graph import DIAGNOSTICS, EMPTY, Topic
from robot_stack.nodes.messages import make, message_class
from robot_stack.nodes.qos import every

PERIOD_NS = 1_000_000_000

Check = Callable[[int, int], Iterable[Reading]]
"""What there is to say at `now_ns` about the `dt_ns` since it was last asked."""


class Ear:
    """Hands on the messages of `topic`, and counts them."""

    def __init__(self, topic: Topic, callback: Callable[[Any], None], raw: bool = False) -> None:
        self._topic, self._callback = topic, callback
        self._stamped = not raw and topic.type != EMPTY
        self._messages = self._age_ns = 0
        self.last_ns: int | None = None
        """When the newest came; None before the first."""

    def __call__(self, message: Any) -> None:
        """`message` has come."""
        now_ns = time.monotonic_ns()
        self._messages, self.last_ns = self._messages + 1, now_ns
        if self._stamped:
            self._age_ns = max(self._age_ns, now_ns - stamp_ns(message))
        self._callback(message)

    def check(self, now_ns: int, dt_ns: int) -> Iterable[Reading]:
        """What came since this was last asked."""
        heard = Hearing(self._messages, self._age_ns, self.last_ns)
        self._messages = self._age_ns = 0
        yield topic_reading(self._topic.name, self._topic.stale_s, heard, now_ns, dt_ns)


class Health:
    """Says how a node is, under the name `speaker`. A check that fails is a reading; it never ends the node."""

    def __init__(self, node: Any, speaker: str) -> None:
        self._speaker = speaker
        self._checks: list[Check] = []
        self._publisher = node.create_publisher(message_class(DIAGNOSTICS.type), DIAGNOSTICS.name, every(DIAGNOSTICS))
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._told_ns = time.monotonic_ns()

    def watch(self, check: Check) -> None:
        """Ask `check` once a second from now on."""
        self._checks.append(check)

    def forget(self) -> None:
        """The job is gone, and all it watched."""
        self._checks.clear()

    def tell(self, now_ns: int, state: str) -> None:
        """Say it if the last time is a second ago; `state`: of the lifecycle."""
        dt_ns = now_ns - self._told_ns
        if dt_ns < PERIOD_NS:
            return
        self._told_ns = now_ns
        found = [self._self(state), *(reading for check in self._checks for reading in _asked(check, now_ns, dt_ns))]
        self._publisher.publish(status_array(self._speaker, found, now_ns))

    def _self(self, state: str) -> Reading:
        process = self._process
        values: dict[str, float | int | str] = {
            "state": state,
            "pid": process.pid,
            "cpu_percent": process.cpu_percent(),
            "memory_mib": round(process.memory_info().rss / 2**20, 1),
        }
        return Reading("process", Level.OK if state == "active" else Level.WARN, state, values)


def _asked(check: Check, now_ns: int, dt_ns: int) -> list[Reading]:
    try:
        return list(check(now_ns, dt_ns))
    except Exception as error:  # whatever a device raises when it is asked how it is
        return [Reading("diagnostics", Level.ERROR, f"cannot be read: {error!r}")]


def status_array(speaker: str, readings: Iterable[Reading], t_ns: int) -> Any:
    """A diagnostic_msgs/DiagnosticArray of what `speaker` says of its parts."""
    statuses = [
        make(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=reading.level.value,
            name=f"{speaker}: {reading.part}",
            message=reading.message,
            values=[make("diagnostic_msgs/msg/KeyValue", key=key, value=str(value)) for key, value in reading.values.items()],
        )
        for reading in readings
    ]
    return make(DIAGNOSTICS.type, header=header(make, t_ns), status=statuses)


def readings_of(message: Any) -> dict[str, Reading]:
    """What a DiagnosticArray says, by "speaker: part"; of a foreign one as much as can be read. Values are text."""
    return {
        status.name: Reading(
            status.name.partition(": ")[2] or status.name,
            Level(min(int.from_bytes(status.level, "little"), Level.STALE.value)),
            status.message,
            {pair.key: pair.value for pair in status.values},
        )
        for status in message.status
    }
