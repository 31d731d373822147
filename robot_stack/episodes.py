"""`robot-stack run`: the graph of processes, and one log for each episode. Leaving early stops the arm first."""

import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.console.start import console_if, require_library
from robot_stack.errors import ConfigError, RobotStackError
from robot_stack.supervisor import Graph
from robot_stack.types import Mode, Step

POLL_S = 0.05
REST_S = 3.0
"""The longest the arm may take from being disarmed or stopped to standing still."""

IN_PLACE = 0.2
"""rad (m of a gripper): a joint that is commanded no further from where it is measured follows."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one episode ended. `success` and `clearance` (m) are the simulated world's, None on a real robot; `mark`: what a person
    said of it; `findings`: what the quality gate did not like."""

    scenario: str
    log: Path
    mode: Mode
    duration_s: float
    success: bool | None
    clearance: float | None
    recorder: str
    mark: str = ""
    findings: tuple[str, ...] = ()

    def __str__(self) -> str:
        result = {True: "success", False: "no success", None: "ended"}[self.success]
        near = "" if self.clearance is None else f", nearest {1e3 * self.clearance:.0f} mm to the obstacle"
        how = f"{self.scenario}: {result} after {self.duration_s:.1f} s in mode {self.mode.value}{near}"
        said = f", marked {self.mark}" if self.mark else ""
        bad = f"; {len(self.findings)} findings" if self.findings else ""
        return f"{how}{said}; {self.recorder}{bad}"


def run(command: RunCommand) -> Generator[Ended]:
    """Start the graph, play `run.episodes` one after the other, stop the graph; yields each episode as it ends."""
    check(command)
    with Graph.start(command) as graph, console_if(command.run.console, graph.directory):
        for number, scenario in enumerate(command.run.episodes):
            yield _episode(graph, scenario, number)


def put_back(graph: Graph, number: int, scenario: str) -> None:
    """Out of STOP, and the simulated world, if that is the robot, to the start of episode `number`."""
    graph.reset()
    if graph.run.world:
        graph.director.reset(graph.run.settings.seed + number, scenario, begin=False)
        graph.wait_for(_in_place, REST_S, "the command where the arm was put")


def _episode(graph: Graph, scenario: str, number: int) -> Ended:
    put_back(graph, number, scenario)
    log = graph.start_log(graph.directory / f"{number:03d}_{scenario}", scenario)
    try:
        mode = graph.arm().verdict.mode
        if graph.run.world:
            graph.director.begin()
        print(f"{scenario}: armed ({mode.value}{', in shadow' if graph.run.shadow else ''}), log {log}", flush=True)
        duration_s, mode, success, nearest = _watch(graph, graph.run.settings.episode_s)
    finally:
        to_rest(graph)
    known = bool(graph.run.world)
    return Ended(scenario, log, mode, duration_s, success if known else None, nearest if known else None, graph.stop_log())


def _watch(graph: Graph, limit_s: float) -> tuple[float, Mode, bool, float]:
    """Until success, STOP or `limit_s`: duration (s), mode at the end, success, and how near (m) the arm came to the obstacle."""
    begin = time.monotonic()
    nearest, success = float("inf"), False
    while time.monotonic() - begin < limit_s and not success and mode_of(graph) is not Mode.STOP:
        graph.processes.require_alive()
        if graph.run.world:
            truth = graph.director.truth()
            nearest, success = min(nearest, truth.clearance), truth.success
        time.sleep(POLL_S)
    return time.monotonic() - begin, mode_of(graph), success, nearest


def to_rest(graph: Graph) -> None:
    """Disarm and wait: the log of an episode, interrupted or not, ends with an arm that stands still."""
    with suppress(RobotStackError):  # a dead node is reported by whoever noticed; Graph.close goes on from here
        graph.disarm()
        graph.wait_for(_at_rest, REST_S, "the arm at rest")


def _at_rest(step: Step) -> bool:
    """No joint is asked to move."""
    return step.verdict.command.qd is not None and not step.verdict.command.qd.any()


def _in_place(step: Step) -> bool:
    """The command has come to where the arm is: a world that is reset puts it elsewhere at once."""
    joints = step.inputs.joints
    return joints is not None and float(np.abs(joints.q - step.verdict.command.q).max()) < IN_PLACE


def mode_of(graph: Graph) -> Mode:
    """Who may move the arm, as of the last tick heard."""
    step = graph.operator.step()
    return Mode.DISARMED if step is None else step.verdict.mode


def check(command: RunCommand | RecordCommand) -> None:
    """Scenarios exist and the bundle is whole and for this robot: said before any process starts."""
    from drivers.scenario import SCENARIOS
    from policies.bundle import load_bundle

    strangers = [name for name in command.run.episodes if name not in SCENARIOS]
    if strangers or not command.run.episodes:
        raise ConfigError(f"run.episodes: found {strangers or 'none'}, allowed one or more of {', '.join(SCENARIOS)}")
    if command.run.console:
        require_library()
    if command.bundle:
        load_bundle(Path(command.bundle), load_robot(command.robot).joint_names)
