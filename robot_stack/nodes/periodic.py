"""A thread that acts on absolute CLOCK_MONOTONIC deadlines: every loop uses it, because rclpy timers are late and drop ticks."""

import os
import threading
import time
from collections.abc import Callable


class Periodic:
    """Calls `step(lateness_ns)` every `period_ns` in a thread of its own, from `start` to `stop`, as often as that is wanted.

    Deadlines missed altogether are skipped. An exception out of `step` ends the thread and is handed to `on_fault`.
    `priority` 1..99 asks for SCHED_FIFO; `said` is the one line that tells what was got.
    """

    def __init__(
        self,
        name: str,
        period_ns: int,
        step: Callable[[int], None],
        on_fault: Callable[[BaseException], None],
        priority: int = 0,
    ) -> None:
        self.said = "normal scheduling"
        self._name = name
        self._period_ns = period_ns
        self._step = step
        self._on_fault = on_fault
        self._priority = priority
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin; returns once the thread runs with the scheduling it can have. Nothing to do when it is running."""
        if self._thread is not None:
            return
        ready, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready, self._stopping), name=self._name, daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """End after the step that runs now; True when the thread is gone, or there was none."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is None or thread is threading.current_thread():
            return thread is None
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self, ready: threading.Event, stopping: threading.Event) -> None:
        self.said = _schedule(self._priority)
        ready.set()
        try:
            self._loop(stopping)
        except BaseException as error:  # whatever it is, the node must learn of it and end
            self._on_fault(error)

    def _loop(self, stopping: threading.Event) -> None:
        deadline_ns = time.monotonic_ns() + self._period_ns
        while not stopping.is_set():
            if (rest_ns := deadline_ns - time.monotonic_ns()) > 0:
                time.sleep(rest_ns / 1e9)
            now_ns = time.monotonic_ns()
            self._step(now_ns - deadline_ns)
            deadline_ns = next_deadline(deadline_ns, self._period_ns, time.monotonic_ns())


def next_deadline(deadline_ns: int, period_ns: int, now_ns: int) -> int:
    """The first deadline after `deadline_ns` that is not over at `now_ns`, on the same even grid."""
    missed = max(0, now_ns - deadline_ns - 1) // period_ns
    return deadline_ns + (1 + missed) * period_ns


def _schedule(priority: int) -> str:
    if not priority:
        return "normal scheduling"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return (
            f"normal scheduling: SCHED_FIFO {priority} was refused by the system; "
            f"allow it with `ulimit -r {priority}` or CAP_SYS_NICE, or set run.fifo_priority=0"
        )
    return f"SCHED_FIFO {priority}"
