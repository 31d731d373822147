"""What every Arm does. A new one joins `OPEN`: a function from the name of a running world to the connected arm."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from drivers.shared_world import SharedArm
from robot_stack.errors import DriverError
from robot_stack.interfaces import Arm
from robot_stack.types import JointCommand, SafeCommand

OPEN: dict[str, Callable[[str], Arm]] = {"shared": SharedArm}
ABSENT: dict[str, Callable[[], Arm]] = {"no_world": lambda: SharedArm("nobody.runs.this")}


@pytest.fixture(params=OPEN)
def arm(request: pytest.FixtureRequest, world_name: str) -> Iterator[Arm]:
    device = OPEN[request.param](world_name)
    yield device
    device.close()


def _command(q: np.ndarray, qd: np.ndarray | None = None) -> SafeCommand:
    return SafeCommand(JointCommand(time.monotonic_ns(), q, qd))


def test_it_is_an_arm(arm: Arm) -> None:
    assert isinstance(arm, Arm)


def test_the_state_has_one_finite_value_a_joint_and_a_stamp_of_now(arm: Arm) -> None:
    state = arm.read()
    assert state.q.shape == state.qd.shape == (len(arm.joint_names),)
    assert np.isfinite(state.q).all()
    assert np.isfinite(state.qd).all()
    assert 0 <= time.monotonic_ns() - state.t_ns < 1_000_000_000


def test_stamps_never_run_backwards(arm: Arm) -> None:
    stamps = [arm.read().t_ns for _ in range(500)]
    assert stamps == sorted(stamps)


def test_it_goes_where_it_is_sent(arm: Arm) -> None:
    start = arm.read().q
    target = start + np.where(np.arange(start.size) == 0, 0.05, 0.0)
    until = time.monotonic() + 30
    while np.abs(arm.read().q - target).max() > 0.005 and time.monotonic() < until:
        arm.send(_command(target))
        time.sleep(0.01)
    np.testing.assert_allclose(arm.read().q, target, atol=0.006)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_command_that_is_not_finite_is_refused(arm: Arm, bad: float) -> None:
    q = arm.read().q.copy()
    q[2] = bad
    with pytest.raises(DriverError, match="finite"):
        arm.send(_command(q))


def test_a_velocity_that_is_not_finite_is_refused(arm: Arm) -> None:
    q = arm.read().q
    with pytest.raises(DriverError, match="finite"):
        arm.send(_command(q, np.full_like(q, np.nan)))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_command_of_the_wrong_length_is_refused(arm: Arm, change: int) -> None:
    with pytest.raises(DriverError, match="joints"):
        arm.send(_command(np.zeros(len(arm.joint_names) + change)))


def test_closing_twice_is_allowed(arm: Arm) -> None:
    arm.close()
    arm.close()
    with pytest.raises(DriverError):
        arm.read()


def test_a_closed_arm_neither_reads_nor_moves(arm: Arm) -> None:
    q = arm.read().q
    arm.close()
    with pytest.raises(DriverError):
        arm.read()
    with pytest.raises(DriverError):
        arm.send(_command(q))


@pytest.mark.parametrize("kind", ABSENT)
def test_connecting_to_an_arm_that_is_not_there_is_an_error_with_a_next_step(kind: str) -> None:
    with pytest.raises(DriverError, match="start"):
        ABSENT[kind]()
