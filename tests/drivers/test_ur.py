"""The UR driver through the real `ur_rtde` against a controller in another process, on loopback."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rtde_control", reason="needs the extra `ur`: pip install 'robot_stack[ur]'")

from drivers.ur import UrArm
from robot_stack.config.robot_file import load_robot
from robot_stack.device import UrLink
from robot_stack.errors import DriverError
from robot_stack.interfaces import Arm
from robot_stack.types import JointCommand, SafeCommand
from tests.waiting import until

HOST = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}.7"
"""RTDE's ports are fixed, so each run of the tests has a loopback address of its own."""


class Controller:
    """The far end, and what it is told."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("ur_controller.py")
        self.process = subprocess.Popen([sys.executable, program, HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        self.process.stdout.readline()


@pytest.fixture
def controller() -> Iterator[Controller]:
    made = Controller()
    yield made
    made.process.kill()
    made.process.wait()


def robot(host: str = HOST):
    return replace(load_robot("so101"), name="ur5e", driver="ur", ur=UrLink(host=host))


@pytest.fixture
def arm(controller: Controller) -> Iterator[UrArm]:
    made = UrArm(robot())
    yield made
    made.close()


def command(q, qd=None) -> SafeCommand:
    return SafeCommand(JointCommand(time.monotonic_ns(), np.asarray(q, dtype=float), qd))


def trouble(arm: UrArm) -> str:
    try:
        arm.read()
    except DriverError as error:
        return str(error)
    return ""


def test_it_is_an_arm_that_goes_where_it_is_sent(arm: UrArm) -> None:
    assert isinstance(arm, Arm)
    q = arm.read().q + 0.1

    def there() -> bool:
        if not trouble(arm):
            arm.send(command(q))
        return not trouble(arm) and bool(np.abs(arm.read().q - q).max() < 0.003)

    until(there)


@pytest.mark.parametrize(("bits", "words"), [(1 << 2, "protective stop"), (1 << 6 | 1 << 7, "emergency stop"), (1 << 9, "fault")])
def test_a_stop_of_the_controllers_own_safety_is_said_and_takes_no_command(
    controller: Controller, arm: UrArm, bits: int, words: str
) -> None:
    controller.tell(f"bits {bits}")
    until(lambda: words in trouble(arm))
    assert "pendant" in trouble(arm)
    with pytest.raises(DriverError, match=words):
        arm.send(command(np.zeros(6)))


def test_a_silent_controller_is_gone_and_blocks_neither_commands_nor_closing(controller: Controller, arm: UrArm) -> None:
    q = arm.read().q
    controller.tell("freeze")
    with pytest.raises(DriverError, match="silent"):
        while True:
            arm.send(command(q))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(arm: UrArm, bad: float) -> None:
    with pytest.raises(DriverError, match="finite"):
        arm.send(command([0, 0, bad, 0, 0, 0]))
    with pytest.raises(DriverError, match="finite"):
        arm.send(command(np.zeros(6), np.full(6, bad)))


def test_the_wrong_number_of_joints_is_refused(arm: UrArm) -> None:
    with pytest.raises(DriverError, match="joints"):
        arm.send(command(np.zeros(7)))


def test_a_closed_arm_neither_reads_nor_moves(arm: UrArm) -> None:
    arm.close()
    arm.close()
    assert "closed" in trouble(arm)
    with pytest.raises(DriverError, match="closed"):
        arm.send(command(np.zeros(6)))


def test_nobody_at_the_address_is_an_error_with_a_next_step() -> None:
    with pytest.raises(DriverError, match="start again"):
        UrArm(robot("127.0.0.99"))


def test_a_robot_file_without_an_address_is_refused() -> None:
    with pytest.raises(DriverError, match=r"robot\.ur"):
        UrArm(robot(""))
