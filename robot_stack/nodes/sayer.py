"""Log lines for loops: the same complaint at most once a second, with how often it happened meanwhile."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from robot_stack.diagnostics import Level, Reading

EVERY_NS = 1_000_000_000


class Sayer:
    """Says warnings through an rclpy logger, at most one a second for each key, and counts all of them for diagnostics."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._last: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._waiting: deque[tuple[str, str]] = deque(maxlen=64)
        self._count = self._told = 0
        self._text = ""

    def say(self, key: str, text: str | Callable[[], str]) -> None:
        """Log `text` (or what it returns, made only when it is said) unless `key` was spoken of within the last second."""
        self._count += 1
        now_ns = time.monotonic_ns()
        if now_ns - self._last.get(key, -EVERY_NS) < EVERY_NS:
            self._kept[key] = self._kept.get(key, 0) + 1
            return
        self._last[key] = now_ns
        self._text = text if isinstance(text, str) else text()
        kept = self._kept.pop(key, 0)
        self._logger.warning(f"{self._text} ({kept} more like it)" if kept else self._text)

    def leave(self, key: str, text: str) -> None:
        """As `say`, for a thread that must not wait for a terminal or a disk: the main loop says it a tenth of a second later."""
        self._waiting.append((key, text))

    def flush(self) -> None:
        """Say what was left."""
        while self._waiting:
            self.say(*self._waiting.popleft())

    def reading(self) -> Reading:
        """How often something was wrong since this was last asked, and what it was: dropped messages, missing devices."""
        count, self._told = self._count - self._told, self._count
        return Reading("complaints", Level.WARN if count else Level.OK, self._text if count else "none", {"count": count})
