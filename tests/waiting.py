"""Tests wait for what they are about: for long, as the computer may be busy, but never longer than it takes."""

import time
from collections.abc import Callable

PATIENCE_S = 90.0


def until(condition: Callable[[], object], what: str = "what the test waits for") -> None:
    """Wait until `condition` holds; `what`, in words, did not come within PATIENCE_S otherwise."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.01)
