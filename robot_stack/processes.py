"""The processes of one graph: started with a log file each, watched, stopped in order, and gone when their parent is."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from robot_stack.errors import RobotStackError
from robot_stack.graph import Process

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
POLL_S = 0.02


class ProcessGroup:
    """Processes by name. Each runs in a session of its own: Ctrl-C reaches the starter alone, which stops them in order.

    `returning`: those that somebody starts again when they end.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = dict(environment)
        self.returning: frozenset[str] = frozenset()
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, process: Process) -> None:
        """Start `process`; what it prints goes to its log file, below what it printed before."""
        with self.log_file(process.name).open("ab" if process.name in self._running else "wb") as log:
            self._running[process.name] = subprocess.Popen(
                process.command(sys.executable),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )

    def log_file(self, name: str) -> Path:
        """Where the output of the process called `name` goes."""
        return self._directory / f"{name}.log"

    def pid(self, name: str) -> int:
        """The process id of `name`; KeyError lists the processes there are."""
        if name not in self._running:
            raise KeyError(f"process: found {name!r}, allowed {list(self._running)}")
        return self._running[name].pid

    def dead(self) -> dict[str, int]:
        """The processes that ended by themselves or were killed, with their exit codes (negative: the signal)."""
        codes = {name: child.poll() for name, child in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def require_alive(self) -> None:
        """Raises RobotStackError with the end of its log when a process has ended that does not return."""
        for name, code in self.dead().items():
            if name in self.returning:
                continue
            raise RobotStackError(f"{name}: ended with {code}; {self.log_file(name)} ends with:\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 12) -> str:
        """The last `lines` of what `name` printed."""
        text = self.log_file(name).read_text(errors="replace").splitlines()
        return "\n".join(text[-lines:]) or "(nothing)"

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; returns once the process is gone."""
        child = self._running[name]
        child.kill()
        child.wait()

    def stop(self, names: Iterable[str], patience_s: float = 5.0) -> None:
        """SIGINT to `names`, SIGTERM to those still there after `patience_s`, SIGKILL to the rest two seconds later."""
        children = [self._running[name] for name in names if name in self._running]
        for number, wait_s in ((signal.SIGINT, patience_s), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            left = [child for child in children if child.poll() is None]
            for child in left:
                child.send_signal(number)
            _await_end(left, wait_s)

    def names(self) -> list[str]:
        """All that were started, in that order."""
        return list(self._running)


def _await_end(children: list[subprocess.Popen[bytes]], wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline and any(child.poll() is None for child in children):
        time.sleep(POLL_S)


def _end_with_parent(parent: int) -> None:
    """In the child: SIGTERM once the starting thread is gone, however it ended."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
