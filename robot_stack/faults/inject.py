"""How each fault is done to a running graph, and undone: `injected` breaks it on entering and mends it on leaving."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from drivers.faults import Fault, FaultKind
from robot_stack.bringup import RUN_FILE
from robot_stack.errors import ConfigError, RobotStackError
from robot_stack.faults.plant import Plant
from robot_stack.faults.table import RUN_S, FaultCase, Means
from robot_stack.graph import node

NOWHERE = Path("/sys/robot_stack/log")
"""No user can make a folder there, root neither."""
ON_PROCESSES = frozenset({Means.KILL, Means.STOP, Means.SLOW, Means.MEMORY, Means.DISK})
DRAINED_S = 2.0
"""How long after a flood whoever heard it may be behind."""
BEFORE_S = 0.3
"""How long a fault is there already when the one after it comes."""


@dataclass
class Injected:
    """When it broke (ns), and what somebody said about it who was asked."""

    t_ns: int
    said: str = ""


@contextmanager
def injected(plant: Plant, case: FaultCase) -> Iterator[Injected]:
    """`case` is there while the block runs. Raises ConfigError on one that needs a graph of its own."""
    with ExitStack() as stack:
        if case.after is not None:
            stack.enter_context(injected(plant, case.after))
            time.sleep(BEFORE_S)
        yield stack.enter_context(_broken(plant, case))


@contextmanager
def _broken(plant: Plant, case: FaultCase) -> Iterator[Injected]:
    pid = plant.pid(case.target) if case.means in ON_PROCESSES else 0
    now_ns = time.monotonic_ns()
    match case.means:
        case Means.KILL:
            os.kill(pid, signal.SIGKILL)
            yield Injected(now_ns)
            plant.revive(case.target)
        case Means.STOP | Means.SLOW:
            with _held(pid, case.amount if case.means is Means.SLOW else None):
                yield Injected(now_ns)
        case Means.CAMERA | Means.ARM:
            camera, joint = (case.target, "") if case.means is Means.CAMERA else ("", case.target)
            plant.director.fault(Fault(FaultKind(case.word), camera, case.amount, joint))
            try:
                yield Injected(now_ns)
            finally:
                plant.director.fault(Fault(FaultKind.CLEAR))
        case Means.CHUNK:
            yield Injected(plant.lie(case.word)[0])
        case Means.FLOOD:
            began_ns, count = plant.lie(f"{case.word} {case.amount}")
            yield Injected(began_ns, f"{count} chunks in {case.amount:g} s")
            time.sleep(DRAINED_S)
        case Means.MEMORY:
            with _limited(pid, resource.RLIMIT_AS, psutil.Process(pid).memory_info().vms):
                yield Injected(now_ns)
        case Means.DISK:
            with _limited(pid, resource.RLIMIT_FSIZE, _size_of_log(plant)):
                yield Injected(now_ns)
        case Means.FOLDER | Means.SECOND:
            yield Injected(now_ns, (_refusal if case.means is Means.FOLDER else _second_arm_node)(plant))
        case _:
            hand = plant.hands.get(case.means)
            if hand is None:
                raise ConfigError(f"{case.name}: it needs a graph made for it; next: robot-stack bench faults")
            hand(case.amount)
            yield Injected(now_ns)
            hand(0.0)


@contextmanager
def _held(pid: int, slow_s: float | None) -> Iterator[None]:
    """`pid` is stopped; with `slow_s` it runs for RUN_S after each `slow_s`. It goes on afterwards."""
    done = threading.Event()

    def pulse() -> None:
        while slow_s is not None and not done.wait(slow_s):
            os.kill(pid, signal.SIGCONT)
            if done.wait(RUN_S):
                return
            os.kill(pid, signal.SIGSTOP)

    os.kill(pid, signal.SIGSTOP)
    thread = threading.Thread(target=pulse, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _limited(pid: int, what: int, most: int) -> Iterator[None]:
    """The soft limit `what` of `pid` is `most` bytes."""
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, hard))
    try:
        yield
    finally:
        try:
            resource.prlimit(pid, what, (soft, hard))
        except ProcessLookupError:  # it did not outlive it
            return


def _size_of_log(plant: Plant) -> int:
    """Bytes of the newest log of the run."""
    logs = sorted(plant.folder.glob("**/*.mcap"), key=lambda path: path.stat().st_mtime)
    if not logs:
        raise RobotStackError(f"{plant.folder}: no log is being written; next: start one (recorder_node/start)")
    return logs[-1].stat().st_size


def _refusal(plant: Plant) -> str:
    """What recorder_node says when it is to write where it cannot."""
    try:
        return plant.operator.start_log(NOWHERE)
    except RobotStackError as error:
        return str(error)


def _second_arm_node(plant: Plant) -> str:
    """What another arm_node says before it ends."""
    command = node("second_arm_node", "arm_node", str(plant.folder / RUN_FILE)).command(sys.executable)
    ended = subprocess.run(command, env=dict(plant.environment), capture_output=True, text=True, timeout=120, check=False)
    return f"exit code {ended.returncode}: {ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else 'nothing'}"
