"""What watching costs: one opinion of the failure monitor and one search for the obstacle, on fresh pictures of both cameras.

Unit: milliseconds of `Monitor.update` with the trained network and of `Detector.track` together, as monitor_node does them for
each pair of pictures, in one thread; `extra` has each alone. The monitor is the one `robot-stack demo` learns.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.harness import Result, summary
from drivers.scenario import SCENARIOS, drive
from drivers.sim_world import SimWorld
from robot_stack.build import load_robot
from robot_stack.clock import NS_PER_S
from robot_stack.config.commands import DemoCommand
from robot_stack.config.load import load
from robot_stack.demo.learned import School
from robot_stack.types import CameraFrame
from safety.detector import Detector
from safety.monitor import Monitor, MonitorState

PAIRS = 300
PERIOD_NS = NS_PER_S // 15 // 1_000_000 * 1_000_000


def pictures(command: DemoCommand, count: int) -> list[dict[str, CameraFrame]]:
    """`count` pairs of pictures while the obstacle walks about."""
    world, taken = SimWorld(load_robot(command.robot), command.task), []
    for i in range(count):
        drive(SCENARIOS["obstacle"], world, i * PERIOD_NS / NS_PER_S)
        world.advance(PERIOD_NS)
        taken.append({camera: world.render(camera) for camera in world.cameras})
    world.close()
    return taken


def main(arguments: Sequence[str] = ()) -> Result:
    """The cost of each pair of pictures."""
    command = load(DemoCommand)
    spec = load_robot(command.robot)
    monitor = Monitor(replace(command.monitor, model=str(School(command).learn().monitor)), spec)
    detector = Detector(spec, command.detector)
    state, track = MonitorState(), detector.start()
    opinion, search = [], []
    for frames in pictures(command, PAIRS):
        now = max(frame.t_ns for frame in frames.values())
        begin = time.perf_counter_ns()
        state, _ = monitor.update(state, frames, now)
        between = time.perf_counter_ns()
        track, _ = detector.track(track, frames[detector.camera], now)
        opinion.append((between - begin) * 1e-6)
        search.append((time.perf_counter_ns() - between) * 1e-6)
    both = np.add(opinion, search).tolist()
    return Result("monitor", "ms", both, extra={"opinion": summary(opinion), "search": summary(search), "target": 5.0})
