"""A control loop by itself, for `bench_tick`: the tick of arm_node on a resting arm, called by our thread or an rclpy timer.

`python -m benchmarks.ticking KIND SECONDS RATE...` prints one JSON object a rate. Each tick reads, decides, filters, sends and
publishes as in arm_node; only the arm, which is where it was told to be, and the messages from other nodes are missing.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.experimental.events_executor import EventsExecutor

from benchmarks.harness import summary
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.data.wire import to_message
from robot_stack.graph import COMMAND, JOINTS, VERDICT
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.nodes.messages import make, message_class
from robot_stack.nodes.periodic import Periodic, next_deadline
from robot_stack.nodes.qos import every
from robot_stack.nodes.realtime import collect, lock_memory, own_the_collector
from robot_stack.types import JointState, SafeCommand, Step
from safety.layer import SafetyLayer

PRIORITY = 50
EXECUTORS = {"single": SingleThreadedExecutor, "multi": MultiThreadedExecutor, "events": EventsExecutor}
KINDS = ("fifo", "thread", *EXECUTORS)
"""Our thread with and without SCHED_FIFO, then a timer of each executor of rclpy."""
WARM_UP = 20


class RestingArm:
    """An Arm that is where it was told to be."""

    def __init__(self, joint_names: tuple[str, ...], q: Sequence[float]) -> None:
        self.joint_names = joint_names
        self._q, self._still = np.array(q), np.zeros(len(q))

    def read(self) -> JointState:
        """Where it is, now."""
        return JointState(time.monotonic_ns(), self._q, self._still)

    def send(self, command: SafeCommand) -> None:
        """Be there."""
        self._q = command.q

    def close(self) -> None:
        """Nothing to give back."""


def tick_of(node: Any, rate_hz: float) -> Callable[[int], None]:
    """One tick of arm_node at `rate_hz`, published by `node`."""
    robot = replace(load_robot("sim_arm"), control_rate_hz=rate_hz)
    out = {t: node.create_publisher(message_class(t.type), t.name, every(t)) for t in (JOINTS, COMMAND, VERDICT)}

    def publish(step: Step) -> None:
        if step.inputs.joints is not None:
            out[JOINTS].publish(to_message(step.inputs.joints, make, robot.joint_names))
        out[COMMAND].publish(to_message(step.verdict.command, make, robot.joint_names))
        out[VERDICT].publish(to_message(step, make))

    loop = ArmLoop(RestingArm(robot.joint_names, robot.q_home), SafetyLayer(robot, SafetySettings()), publish, print)
    return loop.tick


class Watch:
    """Calls `tick` and keeps how late each call was, until `number` are there; then `done` is set."""

    def __init__(self, tick: Callable[[int], None], number: int) -> None:
        self.late_ns, self.due_ns = np.zeros(number), np.zeros(number, dtype=np.int64)
        self.count, self.done = 0, threading.Event()
        self._tick = tick

    def __call__(self, lateness_ns: int) -> None:
        """One call, `lateness_ns` after its deadline."""
        due_ns = time.monotonic_ns() - lateness_ns
        self._tick(lateness_ns)
        if self.count < len(self.late_ns):
            self.late_ns[self.count], self.due_ns[self.count] = lateness_ns, due_ns
            self.count += 1
            if self.count % 250 == 0:
                collect(resting=True)
        else:
            self.done.set()


def by_thread(node: Any, watch: Watch, period_ns: int, priority: int) -> str:
    """Our thread, beside a main thread that serves the node as in arm_node; what scheduling it got."""
    executor = EventsExecutor()
    executor.add_node(node)
    thread = Periodic("control", period_ns, watch, lambda error: watch.done.set(), priority)
    thread.start()
    while not watch.done.is_set():
        executor.spin_once(timeout_sec=0.1)
    thread.stop()
    return thread.said


def by_timer(node: Any, watch: Watch, period_ns: int, executor: Any) -> str:
    """An rclpy timer. Lateness is against the even grid it began on; deadlines it skips are not counted late, but missed."""
    deadline_ns = [0]

    def call() -> None:
        now_ns = time.monotonic_ns()
        watch(now_ns - deadline_ns[0])
        deadline_ns[0] = next_deadline(deadline_ns[0], period_ns, time.monotonic_ns())

    timer = node.create_timer(period_ns / 1e9, call)
    deadline_ns[0] = time.monotonic_ns() + timer.time_until_next_call()
    executor.add_node(node)
    while not watch.done.is_set():
        executor.spin_once(timeout_sec=0.1)
    return "normal scheduling"


def measure(kind: str, rate_hz: float, seconds: float) -> dict[str, Any]:
    """One row: how late (us) the ticks of `seconds` at `rate_hz` began, and how many deadlines passed without one."""
    node = rclpy.create_node(f"ticking_{kind}_{rate_hz:.0f}")
    watch = Watch(tick_of(node, rate_hz), WARM_UP + round(rate_hz * seconds))
    period_ns = round(1e9 / rate_hz)
    if kind in EXECUTORS:
        said = by_timer(node, watch, period_ns, EXECUTORS[kind]())
    else:
        said = by_thread(node, watch, period_ns, PRIORITY if kind == "fifo" else 0)
    due_ns = watch.due_ns[WARM_UP : watch.count]
    missed = round((due_ns[-1] - due_ns[0]) / period_ns) - (len(due_ns) - 1)
    late_us = np.maximum(watch.late_ns[WARM_UP : watch.count], 0.0) / 1e3
    node.destroy_node()
    return {"kind": kind, "rate_hz": rate_hz, **summary(late_us.tolist()), "missed": missed, "scheduling": said}


def main(arguments: Sequence[str]) -> int:
    """Print a row for each rate."""
    kind, seconds, *rates = arguments
    rclpy.init()
    memory = lock_memory()
    own_the_collector()
    for rate in rates:
        print(json.dumps({**measure(kind, float(rate), float(seconds)), "memory": memory}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
