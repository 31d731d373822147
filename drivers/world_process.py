"""The simulated cell as a process of its own, in real time: `python -m drivers.world_process --name NAME --robot sim_arm`.

It waits for nobody. One thread: physics and joint states at 250 Hz on absolute deadlines of CLOCK_MONOTONIC, and
at most one camera rendered between two of them. It ends, and removes its shared memory, on SIGTERM, SIGINT or the
death of its parent.
"""

import argparse
import json
import os
import signal
import time
from typing import Any

import numpy as np

from drivers.faults import Fault, FaultKind
from drivers.scenario import SCENARIOS, Scenario, drive
from drivers.shared_block import SharedFile
from drivers.shared_layout import pack_frame, pack_joints, pack_json, pack_truth, sizes, unpack_command, unpack_json
from drivers.sim_world import SimWorld
from robot_stack.clock import NS_PER_S, seconds
from robot_stack.config import plain
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import TaskSettings
from robot_stack.errors import DriverError, RobotStackError

TICK_NS = 4_000_000
_TRUTH_EVERY = 5
_FALLEN_BEHIND_NS = 50_000_000


class WorldProcess:
    """The loop and what it remembers."""

    def __init__(self, name: str, spec_name: str, task: TaskSettings) -> None:
        spec = load_robot(spec_name)
        self._world = SimWorld(spec, task)
        header = {
            "robot": spec_name,
            "pid": os.getpid(),
            "joints": list(spec.joint_names),
            "cameras": {c.name: [c.height, c.width] for c in spec.cameras},
        }
        self._shared = SharedFile.create(name, header, sizes(spec))
        self._blocks = {block: self._shared.block(block) for block in sizes(spec)}
        self._seen = {"command": 0, "request": 0}
        self._sent = dict.fromkeys(self._world.cameras, -1)
        self._period_ns = {c.name: round(NS_PER_S / c.rate_hz) for c in spec.cameras}
        self._scenario: Scenario = SCENARIOS["nominal"]
        self._begin_ns: int | None = None
        self._parent = os.getppid()
        self._stop = False
        self._ticks = 0

    def stop(self, *_: object) -> None:
        """End after this tick; a signal handler."""
        self._stop = True

    def run(self) -> None:
        """Live until stopped or orphaned; then remove the shared memory."""
        try:
            self._wake()
            while not self._stop and os.getppid() == self._parent:
                self._wait()
                self._tick()
        finally:
            self._shared.close()
            self._world.close()

    def _wake(self) -> None:
        """Render once (slow the first time), then let time be now and the world be found."""
        for camera in self._world.cameras:
            self._world.render(camera)
        self._world.skip(time.monotonic_ns() - self._world.t_ns)
        now = self._world.t_ns
        share = {camera: i / len(self._world.cameras) for i, camera in enumerate(self._world.cameras)}
        self._due = {camera: now + round(share[camera] * self._period_ns[camera]) for camera in share}
        self._tell()
        self._shared.publish()

    def _wait(self) -> None:
        """Sleep until the next tick is due; time the computer did not give is lost, not caught up with."""
        rest_ns = self._world.t_ns + TICK_NS - time.monotonic_ns()
        if rest_ns > 0:
            time.sleep(seconds(rest_ns))
        elif -rest_ns > _FALLEN_BEHIND_NS:
            self._world.skip(-rest_ns)

    def _tick(self) -> None:
        self._hear()
        if self._begin_ns is not None:
            drive(self._scenario, self._world, seconds(self._world.t_ns - self._begin_ns))
        self._world.advance(TICK_NS)
        self._ticks += 1
        self._tell()
        self._look()

    def _tell(self) -> None:
        if not self._world.bus_gone:
            self._blocks["joints"].write(pack_joints(self._world.joints()))
        if self._ticks % _TRUTH_EVERY == 0:
            self._blocks["truth"].write(pack_truth(self._world.truth()))

    def _look(self) -> None:
        """Render the camera that has waited longest, if one is due."""
        now = self._world.t_ns
        camera = min(self._due, key=lambda name: self._due[name])
        if self._due[camera] > now:
            return
        self._due[camera] = max(self._due[camera] + self._period_ns[camera], now)
        frame = self._world.render(camera)
        if frame.t_ns != self._sent[camera]:
            self._blocks[f"camera.{camera}"].write(pack_frame(frame))
            self._sent[camera] = frame.t_ns

    def _hear(self) -> None:
        if (command := self._blocks["command"].read(self._seen["command"])) is not None:
            self._seen["command"] = command[0]
            try:
                self._world.send(unpack_command(command[1]))
            except DriverError:
                pass  # a drive ignores what it cannot take; its watchdog then holds the arm
        if (request := self._blocks["request"].read(self._seen["request"])) is not None:
            self._seen["request"] = request[0]
            self._blocks["reply"].write(pack_json({"to": request[0], "error": self._answer(request[1])}))

    def _answer(self, payload: bytes) -> str:
        """Do what the director asks; what went wrong, in words, or nothing."""
        try:
            self._do(unpack_json(payload))
        except (RobotStackError, ValueError, KeyError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _do(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "reset":
                if request["scenario"] not in SCENARIOS:
                    raise DriverError(f"scenario: found {request['scenario']!r}, allowed {sorted(SCENARIOS)}")
                self._scenario = SCENARIOS[request["scenario"]]
                self._world.reset(request["seed"])
                self._begin_ns = self._world.t_ns if request["begin"] else None
            case "begin":
                self._begin_ns = self._world.t_ns
            case "fault":
                self._world.apply(Fault(FaultKind(request["kind"]), request["camera"], request["amount"], request["joint"]))
            case "place_obstacle":
                self._world.place_obstacle(np.array(request["p_W"]))
            case unknown:
                raise DriverError(f"request: found {unknown!r}, allowed reset, begin, fault, place_obstacle")


def main() -> None:
    """Parse the command line, run until told to end."""
    parser = argparse.ArgumentParser(description="The simulated cell in real time, in shared memory like hardware.")
    parser.add_argument("--name", required=True, help="name others connect to, e.g. world")
    parser.add_argument("--robot", default="sim_arm", help="robot config: a shipped name or a path to a .yaml")
    parser.add_argument("--task", default="{}", help="JSON object of task settings; what it leaves out keeps its default")
    arguments = parser.parse_args()
    process = WorldProcess(arguments.name, arguments.robot, plain.build(TaskSettings, json.loads(arguments.task), "task."))
    signal.signal(signal.SIGTERM, process.stop)
    signal.signal(signal.SIGINT, process.stop)
    process.run()


if __name__ == "__main__":
    main()
