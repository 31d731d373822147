"""Arms of serial servos against the simulated bus: what goes wrong on a bus is said by name, and nothing is held silently."""

import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

for _package in ("serial", "scservo_sdk", "dynamixel_sdk"):
    pytest.importorskip(_package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from drivers.calibration import Calibration  # noqa: E402
from drivers.serial_port import SerialPort  # noqa: E402
from drivers.servo_arm import ServoArm  # noqa: E402
from robot_stack.errors import DriverError  # noqa: E402
from robot_stack.types import JointCommand, JointState, SafeCommand  # noqa: E402
from tests.drivers import servo_rig as rig  # noqa: E402
from tests.waiting import until  # noqa: E402

TICK = 2 * math.pi / 4096


@pytest.fixture(params=["feetech", "dynamixel"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def servos(kind: str) -> Iterator[object]:
    simulator = rig.ServoSimulator(kind)
    yield simulator
    simulator.close()


@pytest.fixture
def connect(kind: str, servos) -> Iterator[Callable[..., ServoArm]]:
    arms = []

    def opened(**bus: object) -> ServoArm:
        arms.append(rig.connect(servos, rig.so101(kind, servos.path, **bus)))
        return arms[-1]

    yield opened
    for arm in arms:
        arm.close()


def send(arm: ServoArm, q) -> None:
    arm.send(SafeCommand(JointCommand(time.monotonic_ns(), np.asarray(q, dtype=float))))


def trouble(arm: ServoArm) -> str:
    """What `read` complains of ("": nothing)."""
    try:
        arm.read()
    except DriverError as error:
        return str(error)
    return ""


def newer(arm: ServoArm, t_ns: int) -> JointState:
    until(lambda: arm.read().t_ns > t_ns)
    return arm.read()


def power(arm: ServoArm, servos) -> None:
    """The first command, to where the arm is."""
    send(arm, arm.read().q)
    until(lambda: all(servo.get(servo.table.torque) for servo in servos.servos.values()))


def drive(arm: ServoArm, q) -> None:
    """Command `q` until the arm is there."""

    def there() -> bool:
        send(arm, q)
        return bool(np.abs(arm.read().q - q).max() < 0.01)

    until(there)


def test_every_joint_is_read_in_radians_with_its_sign(servos, kind) -> None:
    robot = rig.so101(kind, servos.path)
    calibration = rig.calibrated(servos, robot, sign=-1)
    servos.servos[3].encoder = 2047 + 512.0
    arm = rig.connect(servos, robot, calibration)
    q = arm.read().q
    arm.close()
    np.testing.assert_allclose(q, [0, 0, -math.pi / 4, 0, 0, 0.785], atol=1.1 * TICK)


def test_a_gear_divides_the_turns_of_the_servo(servos, kind) -> None:
    robot = rig.so101(kind, servos.path)
    geared = [replace(j, servo=replace(j.servo, gear=1.5)) if j.name == "elbow_flex" else j for j in robot.joints]
    servos.servos[3].encoder = 2047 + 512.0
    arm = rig.connect(servos, replace(robot, joints=tuple(geared)), rig.calibrated(servos, robot))
    q = arm.read().q
    arm.close()
    assert q[2] == pytest.approx(math.pi / 4 / 1.5, abs=1.1 * TICK)


def test_torque_comes_with_the_first_command_and_an_old_goal_is_no_jump(servos, connect) -> None:
    for servo in servos.servos.values():
        servo.put(servo.table.goal, 3000)
    arm = connect()
    assert not any(servo.get(servo.table.torque) for servo in servos.servos.values())
    fastest: list[float] = []
    servos.servos[2].move = lambda dt, now, move=servos.servos[2].move: (move(dt, now), fastest.append(servos.servos[2].speed))
    power(arm, servos)
    newer(arm, time.monotonic_ns())
    assert max(map(abs, fastest)) < 150.0


def test_it_follows_commands(connect) -> None:
    arm = connect()
    drive(arm, arm.read().q + [0.2, -0.2, 0.3, -0.3, 0.4, 0.1])


def test_a_lost_answer_is_asked_for_again(servos, connect) -> None:
    arm = connect()
    servos.lose_next = 3
    until(lambda: servos.lost == 3)
    newer(arm, time.monotonic_ns())
    assert trouble(arm) == ""


def test_no_damaged_packet_becomes_a_position(servos, connect) -> None:
    for servo in servos.servos.values():
        servo.encoder = 2500.0
    arm = connect()
    expected, t_ns = arm.read().q, 0
    servos.loss = servos.corruption = 0.1
    for _ in range(25):
        state = newer(arm, t_ns)
        t_ns = state.t_ns
        np.testing.assert_array_equal(state.q, expected)
    assert servos.lost > 2


def test_a_servo_that_drops_off_is_named_and_the_others_still_obey(servos, connect) -> None:
    arm = connect(lost_s=0.3, reply_s=0.02)
    q = arm.read().q
    power(arm, servos)
    servos.servos[3].dropped = True
    until(lambda: trouble(arm))
    assert "servo 3 (elbow_flex)" in trouble(arm) and "no answer" in trouble(arm)
    send(arm, q + 0.2)
    until(lambda: abs(servos.servos[1].encoder - 2047 - 0.2 / TICK) < 8)


def test_a_servo_that_comes_back_is_not_trusted(servos, connect) -> None:
    arm = connect(lost_s=0.3, reply_s=0.02)
    servos.servos[3].dropped = True
    until(lambda: trouble(arm))
    servos.servos[3].dropped = False
    heard = servos.heard
    until(lambda: servos.heard > heard + 20)
    assert "servo 3 (elbow_flex)" in trouble(arm) and "restart arm_node" in trouble(arm)


def test_a_state_is_never_made_up_for_a_missing_servo(servos, connect) -> None:
    arm = connect(lost_s=1000.0, reply_s=0.02)
    servos.servos[6].dropped = True
    until(lambda: arm.health()[5].missed >= 2)
    first = arm.read()
    until(lambda: arm.health()[5].missed >= 5)
    assert arm.read().t_ns == first.t_ns


def test_a_hot_servo_is_a_fault_until_it_has_cooled(servos, connect) -> None:
    arm = connect(hot=60.0)
    servos.servos[4].put(servos.table.temperature, 66)
    until(lambda: trouble(arm))
    assert "servo 4 (wrist_flex)" in trouble(arm) and "66 degC, allowed 60" in trouble(arm)
    servos.servos[4].put(servos.table.temperature, 40)
    until(lambda: not trouble(arm))


@pytest.mark.parametrize(("bit", "words"), [(0, "voltage out of range"), (2, "overheated"), (5, "overload")])
def test_what_a_servo_complains_of_is_said_in_words(servos, connect, bit: int, words: str) -> None:
    arm = connect()
    servos.servos[2].trip(bit)
    until(lambda: trouble(arm))
    assert "servo 2 (shoulder_lift)" in trouble(arm) and words in trouble(arm)


def test_a_servo_that_restarted_is_found_without_torque(servos, connect) -> None:
    arm = connect()
    power(arm, servos)
    servos.servos[5].put(servos.table.torque, 0)
    until(lambda: trouble(arm))
    assert "servo 5 (wrist_roll)" in trouble(arm) and "torque is off" in trouble(arm)


def test_an_unplugged_adapter_is_said(servos, connect) -> None:
    arm = connect()
    servos.close()
    until(lambda: trouble(arm))
    assert "plugged in" in trouble(arm)
    with pytest.raises(DriverError, match="plugged in"):
        send(arm, np.zeros(6))


def test_servos_hold_where_they_are_when_commands_stop(servos, connect) -> None:
    arm = connect(silent_s=0.05)
    for servo in servos.servos.values():
        servo.speed_max = 100.0
    send(arm, arm.read().q + 1.0)
    until(lambda: servos.servos[1].speed > 50.0)
    until(lambda: servos.servos[1].speed < 1.0)
    assert servos.servos[1].encoder < 2047 + 0.9 / TICK
    assert trouble(arm) == ""


@pytest.mark.parametrize(("at_close", "torque"), [("hold", 1), ("limp", 0)])
def test_closing_leaves_the_arm_as_the_robot_file_says(servos, connect, at_close: str, torque: int) -> None:
    arm = connect(at_close=at_close)
    drive(arm, arm.read().q + 0.1)
    arm.close()
    assert {servo.get(servo.table.torque) for servo in servos.servos.values()} == {torque}
    if servos.table.watchdog >= 0 and torque:
        assert {servo.memory[servos.table.watchdog] for servo in servos.servos.values()} == {0}


def test_a_goal_just_below_the_encoders_zero_does_not_end_the_bus(servos, kind) -> None:
    robot = rig.so101(kind, servos.path)
    found = rig.calibrated(servos, robot).joints
    for servo in servos.servos.values():
        servo.put(servo.table.limits[0], 0)
        servo.put(servo.table.limits[1], 4000)
    low = Calibration(robot.name, kind, {name: replace(joint, range_min=0, range_max=4000) for name, joint in found.items()})
    arm = rig.connect(servos, robot, low)
    send(arm, [0, 0, 0, 0, -2010 * TICK, 0.785])
    t_ns = arm.read().t_ns
    newer(arm, t_ns + 1_000_000)
    assert trouble(arm) == ""
    arm.close()


def test_a_goal_beyond_the_servos_turn_is_refused(connect) -> None:
    arm = connect()
    with pytest.raises(DriverError, match="wrist_roll"):
        send(arm, [0, 0, 0, 0, 3.5, 0])


def test_the_port_is_held_by_one(servos, connect) -> None:
    connect()
    with pytest.raises(DriverError, match="start again"):
        SerialPort(servos.path, 1_000_000, 0.01)


def refused(servos, kind: str, spoil: Callable[[Calibration], Calibration]) -> str:
    robot = rig.so101(kind, servos.path)
    calibration = spoil(rig.calibrated(servos, robot))
    with pytest.raises(DriverError) as error:
        rig.connect(servos, robot, calibration)
    return str(error.value)


def test_a_missing_servo_is_named_at_the_start(servos, kind) -> None:
    servos.servos[2].dropped = servos.servos[6].dropped = True
    said = refused(servos, kind, lambda calibration: calibration)
    assert "servo 2 (shoulder_lift), servo 6 (gripper)" in said and "power" in said


def test_another_model_than_the_calibrated_one_is_refused(servos, kind) -> None:
    def other(calibration: Calibration) -> Calibration:
        pan = replace(calibration.joints["shoulder_pan"], model=4242)
        return replace(calibration, joints={**calibration.joints, "shoulder_pan": pan})

    assert "4242" in (said := refused(servos, kind, other)) and "calibrate" in said


def test_a_servo_that_was_calibrated_otherwise_is_refused(servos, kind) -> None:
    def other(calibration: Calibration) -> Calibration:
        servos.servos[4].put(servos.table.offset, 77)
        return calibration

    assert "servo 4 (wrist_flex)" in (said := refused(servos, kind, other)) and "calibrate" in said


def test_turns_counted_before_a_restart_do_not_move_the_zero() -> None:
    servos = rig.ServoSimulator("dynamixel")
    robot = rig.so101("dynamixel", servos.path)
    calibration = rig.calibrated(servos, robot)
    servos.servos[1].encoder = 2047.0 - 4096
    arm = rig.connect(servos, robot, calibration)
    try:
        assert arm.read().q[0] == pytest.approx(0.0, abs=1.1 * TICK)
        drive(arm, arm.read().q + 0.2)
        assert servos.servos[1].encoder == pytest.approx(2047 - 4096 + 0.2 / TICK, abs=8)
    finally:
        arm.close()
        servos.close()


DRIVER = """
import sys, time
import numpy as np
from robot_stack.types import JointCommand
from tests.drivers import servo_rig as rig
robot = rig.so101("dynamixel", sys.argv[1], watchdog_s=0.5)
from drivers.calibration import Calibration, JointCalibration
found = {j.name: JointCalibration(j.servo.id, 1060, 0, *rig.RANGE, 1) for j in robot.joints}
arm = rig.connect(None, robot, Calibration(robot.name, robot.driver, found))
while True:
    arm.send(JointCommand(0, np.full(6, 1.0)))
    time.sleep(0.01)
"""


def test_dynamixels_stop_by_themselves_when_the_driver_is_killed() -> None:
    servos = rig.ServoSimulator("dynamixel")
    rig.calibrated(servos, rig.so101("dynamixel", servos.path))
    for servo in servos.servos.values():
        servo.speed_max = 20.0
    root = Path(__file__).parents[2]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, servos.path], cwd=root)
    try:
        until(lambda: servos.servos[1].speed > 10.0)
        driver.send_signal(signal.SIGKILL)
        until(lambda: servos.servos[1].speed == 0.0)
        assert servos.servos[1].memory[servos.table.watchdog] == 0xFF
        stopped = servos.servos[1].encoder
        assert stopped < 2047 + 0.9 / TICK
        driver.wait()
        arm = rig.connect(servos, rig.so101("dynamixel", servos.path))
        power(arm, servos)
        newer(arm, time.monotonic_ns())
        assert servos.servos[1].encoder == pytest.approx(stopped, abs=20), "the old goal is forgotten"
        drive(arm, arm.read().q - 0.05)
        arm.close()
    finally:
        driver.kill()
        driver.wait()
        servos.close()
