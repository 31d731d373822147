"""What the log of faults must show: no command out of the robot's limits, every tick up to each fault, a file that was closed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from robot_stack.clock import NS_PER_S
from robot_stack.data.log import read_log
from robot_stack.data.rosbags_messages import deserialize_cdr
from robot_stack.data.wire import stamp_ns
from robot_stack.data.wire_step import step_value
from robot_stack.faults.trial import Outcome
from robot_stack.graph import VERDICT
from robot_stack.robot import RobotSpec
from robot_stack.types import Mode, Step

RESTARTED_NS = NS_PER_S
"""After a gap like this arm_node may be another process, which begins from where the arm is measured."""
RELATIVE = 1e-6


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """One log: ticks in it, commands out of limits, ticks heard before a fault that are missing, and whether it was closed."""

    log: Path
    ticks: int
    out_of_limits: int
    missing: int
    closed: bool

    def __str__(self) -> str:
        state = "closed" if self.closed else "cut"
        return f"{self.log}: {state}, {self.missing} ticks missing, {self.out_of_limits} of {self.ticks} commands out of limits"


def judge(path: Path, spec: RobotSpec, outcomes: Sequence[Outcome], begun_ns: int = 0, lost_ns: int = 0) -> LogVerdict:
    """The log in `path`, begun at `begun_ns`, against the robot's limits and the ticks heard before `outcomes`.

    `lost_ns`: how long before a fault that ends the log the recorder may have lost what it heard. Raises DataError without a log.
    """
    log = read_log(path)
    messages = (deserialize_cdr(raw.data, raw.typename) for raw in log.messages({VERDICT.name}))
    steps = [step_value(message, stamp_ns(message), None) for message in messages]  # its chunk may have been lost in a flood
    held = {step.t_ns for step in steps}
    heard = [t_ns for outcome in outcomes for t_ns in outcome.ticks if begun_ns <= t_ns <= outcome.t_ns - lost_ns]
    return LogVerdict(path, len(steps), out_of_limits(steps, spec), sum(t_ns not in held for t_ns in heard), log.complete)


def out_of_limits(steps: Iterable[Step], spec: RobotSpec) -> int:
    """Commands beyond the robot's data sheet alone: ``q_min <= q <= q_max``, ``|u| <= qd_max``, and from one tick to the next
    ``|u - u_last| <= qdd_max dt`` and ``q = q_last + u dt``; what is not a number is out.

    A disarmed arm may be moved by hand and an arm_node that was started again begins anew: there only the first two count.
    """
    all_steps, dt = list(steps), spec.dt_ns * 1e-9
    out = sum(not _inside(step, spec) for step in all_steps)
    return out + sum(not _follows(a, b, spec, dt) for a, b in pairwise(all_steps) if _one_arm_node(a, b))


def _inside(step: Step, spec: RobotSpec) -> bool:
    q, u = step.verdict.command.q, step.verdict.command.qd
    return u is not None and bool(((q >= spec.q_min) & (q <= spec.q_max) & (np.abs(u) <= spec.qd_max)).all())


def _one_arm_node(a: Step, b: Step) -> bool:
    return b.verdict.mode is not Mode.DISARMED and b.t_ns - a.t_ns < RESTARTED_NS


def _follows(a: Step, b: Step, spec: RobotSpec, dt: float) -> bool:
    last, new = a.verdict.command, b.verdict.command
    if last.qd is None or new.qd is None:
        return False
    gentle = np.abs(new.qd - last.qd) <= spec.qdd_max * dt * (1.0 + RELATIVE)
    return bool(gentle.all()) and bool((np.abs(new.q - last.q - new.qd * dt) <= 1e-9).all())
