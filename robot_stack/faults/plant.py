"""The running graph that faults are put into: started here, or found by its folder and spoken to from outside."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from drivers.shared_world import WorldDirector
from robot_stack import build
from robot_stack.bringup import RUN_FILE, describe_run
from robot_stack.errors import ConfigError, RobotStackError
from robot_stack.faults.table import Means
from robot_stack.graph import ARM_NODE, RECORDER_NODE, VERDICT, Process, camera_node, node
from robot_stack.seal import KEYS, read_keys
from robot_stack.supervisor import Graph, Operator
from robot_stack.types import Mode, Request, Step

FAULT_NODE = "fault_node"
MOVES = 0.05
"""rad/s (m/s): an arm commanded faster than this moves."""
STARTED_S, PATIENCE_S, ATTEMPTS, POLL_S = 60.0, 20.0, 20, 0.02


@dataclass
class Plant:
    """A graph and what breaks it. `start`: starts a process of it again; None: whoever started the graph does. `hands`: what this
    graph was made for besides: each does its fault by an amount, and undoes it by 0."""

    run: build.Run
    folder: Path
    operator: Operator
    director: WorldDirector
    pid: Callable[[str], int]
    environment: Mapping[str, str]
    start: Callable[[Process], None] | None = None
    hands: Mapping[Means, Callable[[float], None]] = field(default_factory=dict)
    _liar: "subprocess.Popen[str] | None" = field(default=None, init=False)

    @classmethod
    def of(cls, graph: Graph) -> "Plant":
        """The graph that this program has started. Raises RobotStackError unless its robot is simulated."""
        parts = graph.processes
        return cls(graph.run, graph.directory, graph.operator, graph.director, parts.pid, parts.environment, parts.start)

    def step(self) -> Step:
        """The newest tick. Raises RobotStackError before the first."""
        step = self.operator.step()
        if step is None:
            raise RobotStackError("graph: no verdict has arrived; is arm_node active?")
        return step

    def arm(self, timeout_s: float = PATIENCE_S) -> None:
        """Give the arm to the policy, out of STOP if need be. Raises RobotStackError with what is lacking."""
        until = time.monotonic() + timeout_s
        while True:
            if self.step().verdict.mode is Mode.STOP:
                self.operator.request(Request.RESET)
            granted, why = self.operator.request(Request.ARM_POLICY)
            if granted:
                return
            if time.monotonic() > until:
                raise RobotStackError(f"arm_policy: not granted within {timeout_s:.0f} s: {why}")
            time.sleep(POLL_S)

    def play(self) -> None:
        """The policy moves the arm, from a new start of the world where it does not. Raises RobotStackError if it never does."""
        for attempt in range(ATTEMPTS):
            if self.step().verdict.mode is not Mode.POLICY:
                self.arm()
            try:
                step = self.operator.wait_for(lambda s: s.verdict.mode is not Mode.POLICY or moves(s), 2.0, "a moving arm")
            except RobotStackError:
                self.start_over(attempt)
                continue
            if step.verdict.mode is Mode.POLICY:
                return
        raise RobotStackError(f"the policy did not get to move the arm in {ATTEMPTS} attempts; {self.folder} has the logs")

    def start_over(self, seed: int) -> None:
        """Take the arm from whoever has it and let the world begin anew, without faults."""
        self.operator.request(Request.DISARM)
        self.director.reset(seed)

    def revive(self, name: str) -> None:
        """Start the dead process `name` again, and what cannot go on without it; wait until all of it works.

        In a graph somebody else has started that is for them, and nothing happens.
        """
        if self.start is None:
            return
        described = describe_run(self.run, self.folder / RUN_FILE)
        users = [ARM_NODE, *(camera_node(c.name) for c in self.run.robot.cameras)] if described.world and name == "world" else []
        for process in (described.world, *described.nodes):
            if process is not None and process.name in (name, *users):
                with suppress(psutil.NoSuchProcess):  # one that lost its world is of no use
                    if (left := psutil.Process(self.pid(process.name))).ppid() == os.getpid():
                        left.kill()
                self.start(process)
                if process is described.world:
                    self._await_world()
        for each in (*users, name):
            self._await_active(each)
        self._await_recorded()

    def liar(self) -> "subprocess.Popen[str]":
        """fault_node, started at the first use."""
        if self._liar is not None:
            return self._liar
        command = liar_of(self.run, self.folder).command(sys.executable)
        with (self.folder / f"{FAULT_NODE}.log").open("wb") as log:
            pipe = subprocess.PIPE
            self._liar = subprocess.Popen(command, env=dict(self.environment), text=True, stdin=pipe, stdout=pipe, stderr=log)
        self._await_active(FAULT_NODE)
        return self._liar

    def lie(self, words: str) -> tuple[int, int]:
        """Let fault_node send "KIND SECONDS"; when the first chunk went out (ns), and how many."""
        told = self.liar()
        assert told.stdin is not None and told.stdout is not None
        print(words, file=told.stdin, flush=True)
        answer = told.stdout.readline().split()
        if len(answer) != 2:
            raise RobotStackError(f"{FAULT_NODE}: found no answer to {words!r}; its log is in {self.folder}")
        return int(answer[0]), int(answer[1])

    def said(self, name: str) -> str:
        """All that the process `name` has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """End what was started beside the graph."""
        if self._liar is not None:
            self._liar.kill()
            self._liar.wait()
            self._liar = None

    def _await_world(self) -> None:
        self.director.close()
        self.director = WorldDirector(self.run.world, wait_s=STARTED_S)

    def _await_active(self, name: str) -> None:
        if name != "world":
            self._await(lambda: self.operator.lifecycle_state(name, timeout_s=0.5) == "active", f"{name}: not active")

    def _await_recorded(self) -> None:
        """Until recorder_node hears the ticks of now: what it does not hear is in no log."""
        now_ns = time.monotonic_ns()

        def heard() -> bool:
            return (self.operator.recorder_status()["heard_ns"][VERDICT.name] or 0) > now_ns

        self._await(heard, f"{RECORDER_NODE}: hears no verdicts")

    def _await(self, condition: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + STARTED_S
        while time.monotonic() < until:
            with suppress(RobotStackError):
                if condition():
                    return
            time.sleep(POLL_S)
        raise RobotStackError(f"{otherwise} within {STARTED_S:.0f} s; its log is in {self.folder}")


def liar_of(run: build.Run, folder: Path) -> Process:
    """The fault_node of the graph of `run`, whose run file is in `folder`: it hears and speaks where that graph does."""
    return replace(node(FAULT_NODE, "fault_node", str(folder / RUN_FILE)), namespace=run.settings.namespace)


def moves(step: Step) -> bool:
    """The arm is commanded to move in this tick."""
    command = step.verdict.command
    return command.qd is not None and bool(np.abs(command.qd).max() > MOVES)


@contextmanager
def attached(folder: Path) -> Iterator[Plant]:
    """The graph whose run file is in `folder`, started by another program. Raises ConfigError unless it runs and is simulated."""
    file = folder.resolve() / RUN_FILE
    run = build.load(file)
    if ARM_NODE not in (found := dict(_processes(file, run.world))):
        raise ConfigError(f"graph: found no running graph of {file}, allowed the folder `robot-stack run` says it logs to")
    if not run.world:
        raise ConfigError(
            f"graph: found {run.robot_file}, a real robot; allowed the simulated one: nobody breaks a real one here"
        )
    environment = found[ARM_NODE].environ()
    os.environ.update({name: value for name, value in environment.items() if name.startswith(("ROS_", "ROBOT_STACK_", "FAST"))})
    operator = Operator(int(environment["ROS_DOMAIN_ID"]), read_keys(file.with_name(KEYS)), run.settings.namespace)
    with closing(operator), closing(WorldDirector(run.world)) as director:
        with closing(Plant(run, file.parent, operator, director, partial(_pid, file, run.world), environment)) as plant:
            operator.wait_for(lambda _: True, PATIENCE_S, "a verdict")
            yield plant


def _pid(file: Path, world: str, name: str) -> int:
    """The process `name` of the run, as it is now: who died may have been started again. Raises RobotStackError without one."""
    found = dict(_processes(file, world))
    if name not in found:
        raise RobotStackError(f"{name}: no such process in the graph of {file}, allowed {', '.join(sorted(found))}")
    return found[name].pid


def _processes(file: Path, world: str) -> Iterator[tuple[str, psutil.Process]]:
    """The processes of the run of `file` and of its `world`, by name."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        named = [word.removeprefix("__node:=") for word in words if word.startswith("__node:=")]
        if named and f"config:={file}" in words:
            yield named[0], process
        elif world and "drivers.world_process" in words and world in words:
            yield "world", process
