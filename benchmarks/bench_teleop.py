"""What a human's hand costs on its way: inverse kinematics each tick, and from the device's bytes to the chunk.

`teleop_ik`: `TwistIk.step` on sim_arm (6 joints, mink with daqp) along a random, smooth twist at 100 Hz, microseconds. `late`:
steps longer than the 10 ms of a tick. `cpu_*`: of processor time alone, which busy neighbours do not lengthen; `so101_*`: 5
joints; `out_of_reach_*`: ten times as fast, so mostly at the edge of the reach.
`teleop_chunk`: a report of a SpaceMouse is written into its device file until `act` has made the chunk of it, microseconds. To it
come up to `teleop.period_s` (20 ms), as a device is looked at so often, and the way to arm_node.
"""

import os
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, summary
from drivers.teleoperators import open_teleoperator
from drivers.twist_ik import TwistIk
from robot_stack.config.load import FOLDER
from robot_stack.config.plain import read
from robot_stack.config.robot_file import load_robot
from robot_stack.config.teleop import TeleopSettings
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, JointState

COUNT, WARM_UP, DT_S = 5_000, 100, 0.01


def main(arguments: Sequence[str] = ()) -> list[Result]:
    """Both figures."""
    ours, cpu = ik_times(load_robot("sim_arm"), 0.1)
    extra: dict[str, Any] = {"late": sum(t > 1e6 * DT_S for t in ours), **_spread("cpu", cpu)}
    extra |= _spread("so101_cpu", ik_times(load_robot("so101"), 0.1)[1])
    extra |= _spread("out_of_reach_cpu", ik_times(load_robot("sim_arm"), 1.0)[1])
    chunks, cpu = chunk_times(load_robot("sim_arm"))
    period = {"period_s": TeleopSettings().period_s, **_spread("cpu", cpu)}
    return [Result("teleop_ik", "µs", ours, extra=extra), Result("teleop_chunk", "µs", chunks, extra=period)]


def _spread(name: str, samples: Sequence[float]) -> dict[str, float]:
    found = summary(samples)
    return {f"{name}_{part}": found[part] for part in ("p50", "p99", "max")}


def ik_times(robot: RobotSpec, speed: float) -> tuple[list[float], list[float]]:
    """Microseconds of each step, passed and of processor time; the hand moves at up to about `speed` m/s, anew every 500."""
    rng, ik, clock = np.random.default_rng(0), TwistIk(robot), Clock()
    for i in range(COUNT + WARM_UP):
        if i % 500 == 0:
            q, twist = np.array(robot.q_home), np.zeros(6)
            ik.begin(q)
        twist = 0.98 * twist + 0.2 * speed * rng.standard_normal(6)
        with clock:
            qd = ik.step(q, twist[:3], twist[3:], DT_S)
        q = q + qd * DT_S
    return clock.wall[WARM_UP:], clock.cpu[WARM_UP:]


def chunk_times(robot: RobotSpec) -> tuple[list[float], list[float]]:
    """Microseconds from writing a report to having its chunk with the clutch held, passed and of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hidraw"
        os.mkfifo(path)
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        settings = read(TeleopSettings, FOLDER / "teleop" / "spacemouse.yaml")
        at = Follower(np.array(robot.q_home))
        teleoperator = open_teleoperator(robot, replace(settings, device=str(path)), at.state, lambda: None)
        teleoperator.act(time.monotonic_ns())
        os.write(device, struct.pack("<BH", 3, 1))
        clock = Clock()
        for i in range(COUNT // 5 + WARM_UP):
            push = round(200 * np.sin(0.05 * i))
            with clock:
                os.write(device, struct.pack("<B6h", 1, push, 0, push, 0, 0, 0))
                chunk = teleoperator.act(time.monotonic_ns())
            if chunk is not None:
                at.q = chunk.q[0]
        teleoperator.close()
        os.close(device)
        return clock.wall[WARM_UP:], clock.cpu[WARM_UP:]


class Clock:
    """Microseconds that passed in each `with` block, and of them those of the processor: neighbours cost none of these."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def __enter__(self) -> None:
        self._begin = time.perf_counter_ns(), time.thread_time_ns()

    def __exit__(self, *_: object) -> None:
        self.wall.append((time.perf_counter_ns() - self._begin[0]) * 1e-3)
        self.cpu.append((time.thread_time_ns() - self._begin[1]) * 1e-3)


class Follower:
    """An arm that is where it was wanted."""

    def __init__(self, q: Array) -> None:
        self.q = q

    def state(self) -> JointState:
        """Where it is."""
        return JointState(time.monotonic_ns(), self.q, np.zeros_like(self.q))
