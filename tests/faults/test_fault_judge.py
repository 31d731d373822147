"""The judge of the logs of faults: it sees a command out of each limit, a missing tick, and a file that was cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.faults.judge import judge, out_of_limits
from robot_stack.faults.trial import Outcome
from robot_stack.types import Array, Decision, JointCommand, Mode, SafeCommand, SafetyVerdict, Step, TickInputs

ROBOT = load_robot("sim_arm")
DT_NS, DT = ROBOT.dt_ns, ROBOT.dt_ns * 1e-9
BEGIN = 10_000_000_000


def tick(number: int, q: Array, u: Array, mode: Mode = Mode.POLICY) -> Step:
    t_ns = BEGIN + number * DT_NS
    command = SafeCommand(JointCommand(t_ns, q, u))
    return Step(t_ns, 0, TickInputs(), SafetyVerdict(t_ns, mode, Decision.PASS, None, command))


def gentle(count: int = 40, mode: Mode = Mode.POLICY) -> list[Step]:
    """Every joint speeds up as hard as it may, and stays within its limits."""
    q, u, steps = np.array(ROBOT.q_home), np.zeros(7), []
    for i in range(count):
        u = np.minimum(u + ROBOT.qdd_max * DT, 0.2 * ROBOT.qd_max) * np.array([1, 1, 1, 1, 1, 1, 0])
        q = q + u * DT
        steps.append(tick(i, q, u, mode))
    return steps


def changed(steps: list[Step], at: int, **change: Array) -> list[Step]:
    verdict = steps[at].verdict
    command = SafeCommand(replace(verdict.command, **change))  # type: ignore[arg-type]
    return [*steps[:at], replace(steps[at], verdict=replace(verdict, command=command)), *steps[at + 1 :]]


def test_a_motion_within_the_limits_is_found_to_be_one() -> None:
    assert out_of_limits(gentle(), ROBOT) == 0


@pytest.mark.parametrize("joint", range(6))
def test_each_limit_of_each_joint_is_seen(joint: int) -> None:
    steps, one = gentle(), np.eye(7)[joint]
    q, u = steps[20].verdict.command.q, steps[20].verdict.command.qd
    assert u is not None
    assert out_of_limits(changed(steps, 20, q=q + one * (ROBOT.q_max - q + 1e-9)), ROBOT) >= 1
    assert out_of_limits(changed(steps, 20, qd=u + one * (ROBOT.qd_max - u + 1e-9)), ROBOT) >= 1
    assert out_of_limits(changed(steps, 20, qd=u + one * ROBOT.qdd_max * DT * 1.001), ROBOT) >= 1
    assert out_of_limits(changed(steps, 20, q=q + one * 1e-6), ROBOT) >= 1
    assert out_of_limits(changed(steps, 20, q=q + one * np.nan), ROBOT) >= 1


def test_an_arm_that_was_put_elsewhere_while_disarmed_or_under_another_arm_node_has_not_jumped() -> None:
    steps, elsewhere = gentle(), np.array(ROBOT.q_home) + 0.3 * np.array([1, 1, 1, 1, 1, 1, 0])
    assert out_of_limits([*steps, tick(40, elsewhere, np.zeros(7), Mode.DISARMED)], ROBOT) == 0
    assert out_of_limits([*steps, tick(40, elsewhere, np.zeros(7))], ROBOT) == 1
    assert out_of_limits([*steps, tick(400, elsewhere, np.zeros(7))], ROBOT) == 0


def outcome(ticks: tuple[int, ...], t_ns: int) -> Outcome:
    return Outcome("kill_policy_node", t_ns, 0.2, True, Mode.FALLBACK, "fallback", ticks)


def test_a_log_is_closed_complete_and_within_limits_or_said_not_to_be(tmp_path: Path) -> None:
    steps = gentle()
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", ROBOT.joint_names)) as log:
        for step in steps[:30]:
            log.write_value("/arm/verdict", step.t_ns, step)
    ticks = tuple(step.t_ns for step in steps)
    found = judge(tmp_path / "log", ROBOT, [outcome(ticks[:30], ticks[29])])
    assert (found.ticks, found.out_of_limits, found.missing, found.closed) == (30, 0, 0, True)
    late = [outcome(ticks[:35], ticks[34])]
    assert judge(tmp_path / "log", ROBOT, late).missing == 5
    assert judge(tmp_path / "log", ROBOT, late, lost_ns=5 * DT_NS).missing == 0
    assert judge(tmp_path / "log", ROBOT, late, begun_ns=ticks[33]).missing == 2
    file = next((tmp_path / "log").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-20])
    assert not judge(tmp_path / "log", ROBOT, []).closed
