"""Bytes on the bus: the simulator speaks the published protocols, and the drivers read what it says."""

import time

import pytest

for _package in ("serial", "scservo_sdk", "dynamixel_sdk"):
    pytest.importorskip(_package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from drivers.serial_port import SerialPort  # noqa: E402
from drivers.servo_bus import MIDDLE, Homing, answering, model_of  # noqa: E402
from tests.drivers import servo_rig as rig  # noqa: E402
from tests.drivers import servo_simulator  # noqa: E402


@pytest.fixture(params=["feetech", "dynamixel"])
def wire(request: pytest.FixtureRequest):
    servos = rig.ServoSimulator(request.param)
    wire = rig.WIRES[request.param](SerialPort(servos.path, 1_000_000, 0.1))
    wire.servos = servos
    yield wire
    wire.port.close()
    servos.close()


def soon() -> int:
    return time.monotonic_ns() + 5_000_000_000


def test_the_checksum_of_the_published_example_of_dynamixel() -> None:
    """Ping of id 1 in the e-manual of protocol 2.0: FF FF FD 00 01 03 00 01 19 4E."""
    assert servo_simulator.crc16(bytes.fromhex("fffffd0001030001")) == 0x4E19


def test_the_checksum_of_the_published_example_of_feetech() -> None:
    """Answer of id 1 to a ping in Feetech's protocol manual: FF FF 01 02 00 FC."""
    assert servo_simulator.feetech_answer(1, 0, b"") == bytes.fromhex("ffff010200fc")


def test_servos_say_their_model_and_silent_ids_nothing(wire) -> None:
    assert model_of(wire, 1) == wire.servos.table.model
    assert model_of(wire, 17) is None
    assert answering(wire, range(5, 8)) == dict.fromkeys((5, 6), wire.servos.table.model)


def test_a_header_inside_the_data_is_stuffed_and_read_back() -> None:
    """Speed -1 (FF FF FF FF) before a position that begins with FD is a header in the middle of a Dynamixel answer."""
    servos = rig.ServoSimulator("dynamixel", ids=(1, 2))
    for servo in servos.servos.values():
        servo.move = lambda dt, now: None
        servo.put(servo.table.speed, -1)
        servo.put(servo.table.position, 0x5FD)
    wire = rig.WIRES["dynamixel"](SerialPort(servos.path, 1_000_000, 0.1))
    found = wire.read_all([1, 2], soon())
    wire.port.close()
    servos.close()
    assert [found[i].ticks for i in (1, 2)] == [0x5FD, 0x5FD] and found[1].speed < 0


def test_a_reading_has_the_units_it_says(wire) -> None:
    servo = wire.servos.servos[2]
    servo.put(wire.servos.table.voltage, 121)
    servo.put(wire.servos.table.temperature, 48)
    reading = wire.read_all([1, 2], soon())[2]
    assert (reading.voltage, reading.temperature, reading.ticks, reading.faults) == (12.1, 48.0, 2047, ())


def test_a_silent_servo_costs_none_of_the_others(wire) -> None:
    wire.servos.servos[3].dropped = True
    assert sorted(wire.read_all([1, 2, 3, 4, 5, 6], soon())) == [1, 2, 4, 5, 6]


@pytest.mark.parametrize("encoder", [0, 700, 2047, 3000, 4095])
def test_homing_puts_the_middle_where_the_servo_is(wire, encoder: int) -> None:
    wire.servos.servos[1].encoder = float(encoder)
    before = wire.read_all([1], soon())[1].ticks
    homing = Homing(wire.offset_to_middle(wire.homing(1), before), 100, 3990)
    wire.set_homing(1, homing)
    assert wire.homing(1) == homing
    wire.servos.advance()
    assert wire.read_all([1], soon())[1].ticks == pytest.approx(MIDDLE, abs=1)
