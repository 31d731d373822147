"""Starts the graph as processes, waits until it really runs, and stops it in the right order. Works with or without a full ROS 2.

In a program:

    with Graph.start(command) as graph:
        graph.start_log(Path("runs/1/nominal"), "nominal")
        graph.director.reset(seed=1, scenario="nominal")
        graph.arm()
        graph.wait_for(lambda step: step.verdict.mode is Mode.STOP, 20.0, "STOP")
        graph.disarm()
        print(graph.stop_log())
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from drivers.shared_world import WorldDirector
from robot_stack.bringup import Bringup, prepare
from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.control import INPUTS
from robot_stack.domain import DomainLease, lease_domain
from robot_stack.errors import RobotStackError
from robot_stack.graph import ARM_NODE, RECORDER_NODE, TELEOP_NODE
from robot_stack.nodes.operator import Operator as Operator
from robot_stack.processes import ProcessGroup
from robot_stack.respawn import Respawner
from robot_stack.seal import KEYS, invitation, read_keys
from robot_stack.types import Mode, Request, Step

POLL_S = 0.05
HEARD_S = 1.0


class Graph:
    """A running graph. Made by `start`; leaving its `with` block stops the arm, closes the log and ends every process."""

    def __init__(self, bringup: Bringup, lease: DomainLease) -> None:
        self.run = bringup.run
        self.directory = bringup.directory
        self.description = bringup.description
        self.domain = lease.domain
        self.processes = ProcessGroup({**os.environ, **bringup.environment}, bringup.directory)
        self._lease = lease
        self._operator: Operator | None = None
        self._director: WorldDirector | None = None
        self._respawner: Respawner | None = None
        self._logging = False

    @classmethod
    def start(cls, command: RunCommand | RecordCommand, directory: Path | None = None) -> Self:
        """Start the graph that `command` asks for and wait until every node is active and the recorder hears each topic.

        What the processes print, the run file and the DDS profile go to `directory` (default: a new one in run.log_dir).
        Must be called from a thread that outlives the graph: processes end with the thread that started them.
        Raises ConfigError when discovery would leave this computer unasked, RobotStackError when a process does not come up.
        """
        lease = lease_domain(command.run.domain, command.run.namespace)
        try:
            bringup = prepare(command, lease.domain, directory)
        except BaseException:
            lease.release()
            raise
        os.environ.update({name: value for name, value in bringup.environment.items() if name != "ROS_DOMAIN_ID"})
        graph = cls(bringup, lease)
        try:
            graph._bring_up(time.monotonic() + bringup.run.settings.start_s)
        except BaseException:
            graph.close()
            raise
        return graph

    @property
    def operator(self) -> Operator:
        """The operator's side of the graph: services, verdicts, lifecycle."""
        if self._operator is None:
            raise RobotStackError("graph: it does not run (closed, or still coming up); next: Graph.start(command)")
        return self._operator

    @property
    def director(self) -> WorldDirector:
        """Whoever sets up the simulated world: reset, faults, truth for scoring."""
        if self._director is None:
            raise RobotStackError(f"graph: {self.run.robot_file} is no simulated robot; there is no world to direct")
        return self._director

    def arm(self, request: Request = Request.ARM_POLICY, timeout_s: float = 10.0) -> Step:
        """Hand the arm to the policy (or ARM_TELEOP), asking again while something is lacking; RobotStackError names what.

        A human takes up the device anew: a script that plays one begins its job from the start.
        """
        wanted = Mode.TELEOP if request is Request.ARM_TELEOP else Mode.POLICY
        if request is Request.ARM_TELEOP:
            self.operator.restart(TELEOP_NODE)
        deadline = time.monotonic() + timeout_s
        while True:
            asked_ns = time.monotonic_ns()
            success, why = self.operator.request(request)
            if success:
                return self.wait_for(lambda step: step.verdict.mode is wanted, 5.0, f"mode {wanted.value}", asked_ns)
            if time.monotonic() > deadline:
                raise RobotStackError(f"{request.value}: not granted within {timeout_s:.0f} s: {why}")
            self.processes.require_alive()
            time.sleep(POLL_S)

    def disarm(self) -> Step:
        """Take the arm from whoever has it."""
        asked_ns = time.monotonic_ns()
        self.operator.request(Request.DISARM)
        return self.wait_for(lambda step: step.verdict.mode in (Mode.DISARMED, Mode.STOP), 5.0, "the arm disarmed", asked_ns)

    def reset(self) -> Step:
        """Leave STOP."""
        asked_ns = time.monotonic_ns()
        self.operator.request(Request.RESET)
        return self.wait_for(lambda step: step.verdict.mode is not Mode.STOP, 5.0, "the end of STOP", asked_ns)

    def start_log(self, path: Path, scenario: str = "") -> Path:
        """Begin a new episode log at `path`, labelled `scenario`; where it really is.

        Returns once the log has each input of the control loop (or HEARD_S are over, as some node is silent): a replay knows
        what the log holds, so an arm armed before that would be armed on inputs that the replay has not seen.
        """
        where = Path(self.operator.start_log(path.resolve(), scenario))
        self._logging = True
        missing = set(INPUTS)

        def heard(step: Step) -> bool:
            missing.difference_update([name for name in INPUTS if getattr(step.inputs, name) is not None])
            return not missing

        with suppress(RobotStackError):
            self.wait_for(heard, HEARD_S)
        return where

    def stop_log(self) -> str:
        """Close the episode log; what the recorder says about it: messages, drops."""
        self._logging = False
        return self.operator.stop_log()

    def wait_for(self, condition: Callable[[Step], bool], timeout_s: float, what: str = "", after_ns: int | None = None) -> Step:
        """The first tick later than `after_ns` (None: now) for which `condition` holds. See `Operator.wait_for`."""
        return self.operator.wait_for(condition, timeout_s, what, after_ns)

    def kill(self, name: str) -> int:
        """SIGKILL the process called `name`, as a crash would; the time of it, ns."""
        now_ns = time.monotonic_ns()
        self.processes.kill(name)
        return now_ns

    def close(self) -> None:
        """Stop in order: the arm, the log, the arm's node, the recorder, the others, the world. Allowed twice."""
        if self._respawner is not None:
            self._respawner.hold()
        if self._operator is not None:
            self._stop_politely(self._operator)
            self._operator.close()
            self._operator = None
        world = self.description.world
        names = [name for name in self.processes.names() if world is None or name != world.name]
        self.processes.stop([ARM_NODE])
        self.processes.stop([RECORDER_NODE])
        self.processes.stop(names)
        self.processes.stop(self.processes.names())
        if self._respawner is not None:
            self._respawner.close()
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _stop_politely(self, operator: Operator) -> None:
        dead = self.processes.dead()
        if ARM_NODE not in dead:
            _try(lambda: operator.request(Request.DISARM, timeout_s=2.0))
        if self._logging and RECORDER_NODE not in dead:
            _try(self.stop_log)

    def _bring_up(self, deadline: float) -> None:
        if self.description.world is not None:
            self.processes.start(self.description.world)
            self._await(self._world_lives, deadline, "the world to run")
        for process in self.description.nodes:
            self.processes.start(process)
        self._operator = Operator(self.domain, read_keys(self.directory / KEYS), self.run.settings.namespace)
        for process in self.description.nodes:
            self._await(partial(self._active, process.node), deadline, f"{process.node} to be active")
        self._await(lambda: self.operator.step() is not None, deadline, "the first verdict")
        self._await(self._all_heard, deadline, f"{RECORDER_NODE} to find who publishes each topic")
        self._respawner = Respawner(self.processes, self.description.processes, self._active, _say, self.operator.tell)
        self._respawner.start()
        for name in self.run.settings.allow:
            _say(invitation(self.directory, name))

    def _world_lives(self) -> bool:
        try:
            self._director = self._director or WorldDirector(self.run.world)
            return self._director.alive()
        except RobotStackError:
            return False

    def _active(self, node: str) -> bool:
        try:
            return self.operator.lifecycle_state(node, timeout_s=1.0) == "active"
        except RobotStackError:
            return False

    def _all_heard(self) -> bool:
        """Else a log that begins now lacks what the recorder has not found yet: DDS tells it of one publisher after the other."""
        nodes = {process.node for process in self.description.nodes}
        wanted = {topic.name for topic in self.description.topics if topic.publisher in nodes}
        return not wanted.intersection(self.operator.recorder_status()["unfound"])

    def _await(self, condition: Callable[[], bool], deadline: float, what: str) -> None:
        while not condition():
            self.processes.require_alive()
            if time.monotonic() > deadline:
                limit_s = self.run.settings.start_s
                raise RobotStackError(f"waited {limit_s:.0f} s (run.start_s) for {what}; logs are in {self.directory}")
            time.sleep(POLL_S)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _try(act: Callable[[], object]) -> None:
    """On the way out a node that does not answer is no reason to leave the others running."""
    try:
        act()
    except RobotStackError as error:
        print(f"while stopping: {error}")
