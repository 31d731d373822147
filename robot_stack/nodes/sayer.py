"""Log lines for loops: the same complaint at most once a second, with how often it happened meanwhile."""

import time
from typing import Any

EVERY_NS = 1_000_000_000


class Sayer:
    """Says warnings through an rclpy logger, at most one a second for each key."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._last: dict[str, int] = {}
        self._kept: dict[str, int] = {}

    def say(self, key: str, text: str) -> None:
        """Log `text` unless something was said about `key` within the last second."""
        now_ns = time.monotonic_ns()
        if now_ns - self._last.get(key, -EVERY_NS) < EVERY_NS:
            self._kept[key] = self._kept.get(key, 0) + 1
            return
        self._last[key] = now_ns
        kept = self._kept.pop(key, 0)
        self._logger.warning(f"{text} ({kept} more like it)" if kept else text)
