"""Faults of a servo bus in the control loop as shipped: the arm is safe, no command leaves its limits."""

import pytest

for _package in ("serial", "scservo_sdk", "dynamixel_sdk"):
    pytest.importorskip(_package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from benchmarks.fault_servos import CASES, servo_trial  # noqa: E402
from robot_stack.faults.table import FaultCase  # noqa: E402
from robot_stack.types import Decision  # noqa: E402

QUICK = {"servo_adapter_unplugged", "servo_bus_lost"}
NAMED = [pytest.param(case, id=case.name, marks=[] if case.name in QUICK else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize("case", NAMED)
def test_an_arm_on_a_broken_bus_is_held_or_stopped_within_its_limits(case: FaultCase) -> None:
    outcome, commands, out_of_limits = servo_trial(case)
    assert outcome.as_expected and (Decision.HOLD.value in outcome.said or Decision.STOP.value in outcome.said)
    assert commands > 50 and out_of_limits == 0
