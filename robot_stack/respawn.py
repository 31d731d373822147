"""Who watches the processes of a running graph, and starts a node that died again, later each time it dies again.

arm_node is never started again: its death stops the arm, by the watchdog of its driver, and who goes on is for a person to say.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from robot_stack.clock import nanoseconds, seconds
from robot_stack.diagnostics import Level, Reading
from robot_stack.graph import ARM_NODE, Process
from robot_stack.processes import ProcessGroup

LOOK_S = 0.1
TELL_NS = 1_000_000_000


@dataclass(slots=True)
class Life:
    """One process: how often in a row it was started again, when it last was, when it is due, and whether it is active yet."""

    process: Process
    tried: int = 0
    started_ns: int = 0
    due_ns: int | None = None
    coming: bool = False
    dead: bool = False


class Respawner:
    """Looks after `processes` in a thread of its own, from `start` to `close`; children end with the thread that started them.

    `active(node)` says whether a node is active; what happens is said by `say`, and once a second how all are by `tell`.
    """

    def __init__(
        self,
        group: ProcessGroup,
        processes: Iterable[Process],
        active: Callable[[str], bool],
        say: Callable[[str], None],
        tell: Callable[[Sequence[Reading]], None],
    ) -> None:
        self._group, self._active, self._say, self._tell = group, active, say, tell
        now_ns = time.monotonic_ns()
        self._lives = [Life(process, started_ns=now_ns) for process in processes]
        self._holding, self._ended, self._looking = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="respawn", daemon=True)
        self._told_ns = now_ns
        group.returning = frozenset(life.process.name for life in self._lives if life.process.respawn is not None)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def hold(self) -> None:
        """Start nothing again, and ask nobody, from now on: the graph is being stopped."""
        self._holding.set()
        with self._looking:  # the look that was under way is over
            pass

    def close(self) -> None:
        """End, when all processes have ended."""
        self._holding.set()
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self, now_ns: int) -> None:
        """One look at all processes, at `now_ns`."""
        dead = self._group.dead()
        for life in self._lives:
            if life.due_ns is not None:
                self._start_again(life, now_ns)
            elif life.process.name in dead and not life.dead:
                self._ended_with(life, dead[life.process.name], now_ns)
            elif life.coming and self._active(life.process.node):
                life.coming = False
                self._say(f"{life.process.name}: active again after {seconds(now_ns - life.started_ns):.1f} s")

    def readings(self) -> list[Reading]:
        """How each process is: ERROR when it is dead for good, WARN while it is being started again or was not long ago."""
        return [_reading(life) for life in self._lives]

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            with self._looking:
                if not self._holding.is_set():
                    self._look_and_tell(time.monotonic_ns())

    def _look_and_tell(self, now_ns: int) -> None:
        self.look(now_ns)
        if now_ns - self._told_ns > TELL_NS:
            self._told_ns = now_ns
            self._tell(self.readings())

    def _start_again(self, life: Life, now_ns: int) -> None:
        if life.due_ns is None or now_ns < life.due_ns or self._holding.is_set():
            return
        life.due_ns, life.started_ns, life.coming = None, now_ns, True
        self._group.start(life.process)

    def _ended_with(self, life: Life, code: int, now_ns: int) -> None:
        rule, name, life.coming = life.process.respawn, life.process.name, False
        if rule is not None and now_ns - life.started_ns >= nanoseconds(rule.well_s):
            life.tried = 0
        if code == 0 or rule is None or life.tried >= rule.tries:
            life.dead = True
            self._group.returning -= {name}
            self._say(f"{name}: ended with {code}; {_why_dead(life, code)}; its log is {self._group.log_file(name)}")
            return
        wait_s = rule.wait(life.tried)
        life.tried, life.due_ns = life.tried + 1, now_ns + nanoseconds(wait_s)
        self._say(f"{name}: ended with {code}; it is started again in {wait_s:.1f} s ({life.tried} of {rule.tries})")


def _why_dead(life: Life, code: int) -> str:
    if life.process.name == ARM_NODE:
        return "the watchdog of its driver stops the arm; it is not started again"
    if code == 0:
        return "as it was asked to"
    if life.process.respawn is None:
        return "it is not started again (run.respawn)"
    return f"it is not started again, it was {life.tried} times in a row"


def _reading(life: Life) -> Reading:
    values = {"started_again": life.tried}
    if life.dead:
        return Reading(life.process.name, Level.ERROR, "dead", values)
    if life.due_ns is not None or life.coming:
        return Reading(life.process.name, Level.WARN, "being started again", values)
    return Reading(life.process.name, Level.OK, "running", values)
