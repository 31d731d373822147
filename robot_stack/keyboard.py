"""Keys as they are pressed, without Enter: a terminal's, or what a pipe sends."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def pressed() -> Iterator[Callable[[float], str]]:
    """Waits up to so many seconds for one key of the standard input; "" when none came, or nobody is there any more."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor) if sys.stdin.isatty() else None
    open_ended = [True]

    def key(timeout_s: float) -> str:
        if not open_ended[0]:
            time.sleep(timeout_s)
            return ""
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return ""
        read = os.read(descriptor, 1).decode(errors="replace")
        open_ended[0] = bool(read)
        return read

    if before is not None:
        tty.setcbreak(descriptor)
    try:
        yield key
    finally:
        if before is not None:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
