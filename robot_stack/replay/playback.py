"""Playing a log at its true times, without ROS: when each message is due, and what a key changes. Time comes from outside."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from robot_stack.clock import nanoseconds
from robot_stack.config.playback import PlaybackSettings
from robot_stack.data.log_reader import VERDICT_TOPIC, EpisodeLog, RawMessage

FOREVER_S = 1e9
JUMP_NS = 5_000_000_000
ASK_NS = 250_000_000
"""`wait` is called at least this often, also where many messages are due: it brings the keys, and may watch more than those."""


@dataclass(frozen=True, slots=True)
class Playhead:
    """At `now_ns` the log is at `log_ns` and goes on `rate` times as fast as it was recorded, unless `paused`."""

    log_ns: int
    now_ns: int
    rate: float = 1.0
    paused: bool = False

    def at(self, now_ns: int) -> int:
        """Where the log is at `now_ns`."""
        return self.log_ns if self.paused else self.log_ns + round((now_ns - self.now_ns) * self.rate)

    def due_ns(self, log_ns: int) -> int | None:
        """When what was recorded at `log_ns` is due; None while paused."""
        return None if self.paused else self.now_ns + round((log_ns - self.log_ns) / self.rate)

    def turned(self, now_ns: int, rate: float | None = None, paused: bool | None = None) -> "Playhead":
        """From `now_ns` on at another `rate`, or `paused` or not, without a jump."""
        rate, paused = self.rate if rate is None else rate, self.paused if paused is None else paused
        return Playhead(self.at(now_ns), now_ns, rate, paused)


class Player:
    """Gives each message of a log to `send` when it is due. `clock` is a time in ns; `wait(s)` waits so long, or less, for a key.

    Keys: space (pause, go on), t (to the end of the next tick), m (one message), f and b (5 s on or back), + and - (twice, half
    the rate), q (end). What `wait` raises ends the playing.
    """

    def __init__(
        self,
        settings: PlaybackSettings,
        send: Callable[[RawMessage], object],
        clock: Callable[[], int],
        wait: Callable[[float], str],
    ) -> None:
        self.sent, self.ended, self.begin_ns = 0, False, 0
        self._settings, self._send, self._clock, self._wait = settings, send, clock, wait
        self._head = Playhead(0, 0, settings.rate, settings.step)
        self._until, self._asked_ns = "", clock() - ASK_NS
        self._jump_ns: int | None = None

    @property
    def paused(self) -> bool:
        """Only keys move it on."""
        return self._head.paused

    def play(self, log: EpisodeLog) -> None:
        """Play the wanted part of `log` once; jumps within it as keys ask. Raises DataError on a damaged log."""
        first = next(log.messages({VERDICT_TOPIC}), None) or next(log.messages(), None)
        if first is None:
            return
        self.begin_ns = first.t_ns
        begin = first.t_ns + nanoseconds(self._settings.start_s)
        start: int | None = begin
        while start is not None and not self.ended:
            self._jump_ns = None
            self._play_from(log, max(begin, start))
            start = self._jump_ns

    def _play_from(self, log: EpisodeLog, start_ns: int) -> None:
        """To the end from `start_ns` on; what was recorded before the first tick belongs to the beginning."""
        end_ns = self.begin_ns + nanoseconds(self._settings.end_s or FOREVER_S)
        anchored = False
        for raw in log.messages():
            if raw.t_ns < start_ns > self.begin_ns:
                continue
            if raw.t_ns > end_ns:
                return
            if not anchored:
                self._head, anchored = replace(self._head, log_ns=start_ns, now_ns=self._clock()), True
            self._await(raw)
            if self.ended or self._jump_ns is not None:
                return
            self._send(raw)
            self.sent += 1
            if self._head.paused:
                self._head = replace(self._head, log_ns=max(self._head.log_ns, raw.t_ns))
            if self._until in ("message", raw.topic):
                self._until = ""

    def _await(self, raw: RawMessage) -> None:
        """Return when `raw` is due, a key lets it pass, or a key makes it not due any more."""
        while not (self._until or self.ended or self._jump_ns is not None):
            now_ns = self._clock()
            due_ns = self._head.due_ns(raw.t_ns)
            rest_ns = ASK_NS if due_ns is None else due_ns - now_ns
            if rest_ns <= 0 and now_ns - self._asked_ns < ASK_NS:
                return
            self._asked_ns = now_ns
            self._press(self._wait(min(max(rest_ns, 0), ASK_NS) / 1e9))

    def _press(self, key: str) -> None:
        now_ns, head = self._clock(), self._head
        match key:
            case " ":
                self._head = head.turned(now_ns, paused=not head.paused)
            case "+" | "-":
                self._head = head.turned(now_ns, rate=head.rate * (2.0 if key == "+" else 0.5))
            case "t" | "m":
                self._head = head.turned(now_ns, paused=True)
                self._until = VERDICT_TOPIC if key == "t" else "message"
            case "f" | "b":
                self._jump_ns = head.at(now_ns) + (JUMP_NS if key == "f" else -JUMP_NS)
            case "q":
                self.ended = True
