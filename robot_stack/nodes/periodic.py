"""A thread that acts on absolute CLOCK_MONOTONIC deadlines: every loop uses it, because rclpy timers are late and drop ticks."""

import os
import threading
import time
from collections.abc import Callable

from robot_stack.diagnostics import Spell


class Periodic:
    """Calls `step(lateness_ns)` every `period_ns` in a thread of its own, from `start` to `stop`, as often as that is wanted.

    Deadlines missed altogether are skipped. An exception out of `step` ends the thread and is handed to `on_fault`.
    `priority` 1..99 asks for SCHED_FIFO, `cpu` >= 0 for that core; `said` is the one line that tells what was got.
    """

    def __init__(
        self,
        name: str,
        period_ns: int,
        step: Callable[[int], None],
        on_fault: Callable[[BaseException], None],
        priority: int = 0,
        cpu: int = -1,
    ) -> None:
        self.said = "normal scheduling"
        self.name = name
        self.period_ns = period_ns
        self._step = step
        self._on_fault = on_fault
        self._priority = priority
        self._cpu = cpu
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._calls = self._missed = self._late_ns = self._busy_ns = 0
        self._told = (0, 0)
        self._later_ns = 0

    @property
    def running(self) -> bool:
        """It has been started and not stopped."""
        return self._thread is not None

    def start(self) -> None:
        """Begin; returns once the thread runs with the scheduling it can have. Nothing to do when it is running."""
        if self._thread is not None:
            return
        ready, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready, self._stopping), name=self.name, daemon=True)
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

    def postpone(self, by_ns: int) -> None:
        """For a step that had to wait for something periodic: the deadlines after it are `by_ns` later."""
        self._later_ns += by_ns

    def spell(self) -> Spell:
        """What it did since this was last asked, by one other thread. The loop counts without a lock: a maximum may be lost."""
        calls, missed = self._calls, self._missed
        found = Spell(calls - self._told[0], missed - self._told[1], self._late_ns, self._busy_ns)
        self._told, self._late_ns, self._busy_ns = (calls, missed), 0, 0
        return found

    def _run(self, ready: threading.Event, stopping: threading.Event) -> None:
        self.said = _schedule(self._priority, self._cpu)
        ready.set()
        try:
            self._loop(stopping)
        except BaseException as error:  # whatever it is, the node must learn of it and end
            self._on_fault(error)

    def _loop(self, stopping: threading.Event) -> None:
        deadline_ns = time.monotonic_ns() + self.period_ns
        while not stopping.is_set():
            if (rest_ns := deadline_ns - time.monotonic_ns()) > 0:
                time.sleep(rest_ns / 1e9)
            begin_ns = time.monotonic_ns()
            late_ns = begin_ns - deadline_ns
            self._step(late_ns)
            end_ns = time.monotonic_ns()
            deadline_ns, self._later_ns = deadline_ns + self._later_ns, 0
            following_ns = next_deadline(deadline_ns, self.period_ns, end_ns)
            self._count(late_ns, end_ns - begin_ns, (following_ns - deadline_ns) // self.period_ns - 1)
            deadline_ns = following_ns

    def _count(self, late_ns: int, busy_ns: int, missed: int) -> None:
        self._calls += 1
        self._missed += missed
        if late_ns > self._late_ns:
            self._late_ns = late_ns
        if busy_ns > self._busy_ns:
            self._busy_ns = busy_ns


def next_deadline(deadline_ns: int, period_ns: int, now_ns: int) -> int:
    """The first deadline after `deadline_ns` that is not over at `now_ns`, on the same even grid."""
    missed = max(0, now_ns - deadline_ns - 1) // period_ns
    return deadline_ns + (1 + missed) * period_ns


def _schedule(priority: int, cpu: int) -> str:
    return ", ".join(text for text in (_fifo(priority), _pin(cpu)) if text)


def _fifo(priority: int) -> str:
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


def _pin(cpu: int) -> str:
    if cpu < 0:
        return ""
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        return f"on any core: run.cpu: found {cpu}, allowed {sorted(allowed)}"
    os.sched_setaffinity(0, {cpu})
    return f"on core {cpu}"
