"""What the servo buses have in common: a reading, the questions a bus answers, and one exchange with all servos in a set time."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from drivers.serial_port import SerialPort
from robot_stack.errors import DriverError

TURN = 4096
"""Ticks of one turn, of Feetech's STS series as of Dynamixel's X series."""
MIDDLE = TURN // 2 - 1
"""Where calibration puts the middle of the range, so that no joint crosses the encoder's wrap."""
COMM_SUCCESS = 0
_ANSWER_S, _TRIES = 0.1, 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What a servo says: `ticks`, `speed` ticks/s, `load` -1..1, `current` A, `voltage` V, `temperature` degC, its `faults`."""

    ticks: int
    speed: float
    load: float
    current: float
    voltage: float
    temperature: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Homing:
    """What calibration leaves in a servo: the offset of its zero and the ends of its range, ticks."""

    offset: int
    range_min: int
    range_max: int


class ServoWire(Protocol):
    """One vendor's servos on a port: `drivers.feetech.FeetechWire`, `drivers.dynamixel.DynamixelWire`."""

    port: SerialPort
    packets: Any
    id_at: int
    error_at: int
    has_watchdog: bool

    def read_all(self, servos: Sequence[int], limit_ns: int) -> dict[int, Reading]:
        """A reading of each of `servos` that answered before `limit_ns`."""
        ...

    def write_goals(self, ticks: Mapping[int, int]) -> None:
        """Where each servo is to go, in one packet without an answer."""
        ...

    def holds(self, servo: int, limit_ns: int) -> bool | None:
        """The servo obeys its goals: torque is on, no watchdog has tripped. None: no answer before `limit_ns`."""
        ...

    def prepare(self, servo: int, p_gain: int) -> None:
        """Answers without delay, position mode, gains; torque stays as it is. Raises DriverError."""
        ...

    def torque(self, servo: int, on: bool) -> None:
        """Power to the motor, or none. Raises DriverError."""
        ...

    def watchdog(self, servo: int, wait_s: float) -> None:
        """The servo stops by itself after `wait_s` without a packet (0: it does not). Raises DriverError."""
        ...

    def homing(self, servo: int) -> Homing:
        """What calibration left in the servo. Raises DriverError."""
        ...

    def set_homing(self, servo: int, homing: Homing) -> None:
        """Store `homing`; torque must be off. Raises DriverError."""
        ...

    def offset_to_middle(self, homing: Homing, ticks: int) -> int:
        """The offset that makes `MIDDLE` of where the servo, now with `homing`, reads `ticks`."""
        ...


def collect(wire: ServoWire, servos: Sequence[int], length: int, receive: Callable[[], Any]) -> dict[int, tuple[int, list[int]]]:
    """The answers to a sync read just sent: {id: (error byte, `length` data bytes)} of those that came in time and whole.

    An answer is taken by the id it carries: a servo that stays away does not cost those after it, as in the SDKs' own groups.
    """
    found: dict[int, tuple[int, list[int]]] = {}
    awaited = set(servos)
    while awaited and not wire.port.isPacketTimeout():
        packet, result = receive()
        if result != COMM_SUCCESS or len(packet) <= wire.id_at or packet[wire.id_at] not in awaited:
            continue
        data = list(packet[wire.error_at + 1 : wire.error_at + 1 + length])
        if len(data) == length:
            awaited.discard(packet[wire.id_at])
            found[packet[wire.id_at]] = (packet[wire.error_at], data)
    return found


def read_in_turn(
    servos: Sequence[int], limit_ns: int, sync: Callable[[Sequence[int]], dict[int, Any]], one: Callable[[int], Any | None]
) -> dict[int, Any]:
    """All of `servos` by one sync read; those that did not answer are asked again, one by one, for as long as there is time."""
    found = sync(servos)
    for servo in servos:
        if servo not in found and time.monotonic_ns() < limit_ns:
            answer = one(servo)
            if answer is not None:
                found[servo] = answer
    return found


def read_bytes(
    wire: ServoWire, servo: int, address: int, length: int, limit_ns: int, patient: bool = False
) -> tuple[int, list[int]] | None:
    """The error byte and `length` bytes at `address`, or None without an answer before `limit_ns`."""
    wire.port.begin(limit_ns, patient)
    data, result, error = wire.packets.readTxRx(wire.port, servo, address, length)
    return (int(error), list(data)) if result == COMM_SUCCESS and len(data) == length else None


def fetch(wire: ServoWire, servo: int, address: int, length: int) -> list[int]:
    """`length` bytes at `address`, asked up to three times. Raises DriverError."""
    for _ in range(_TRIES):
        answer = read_bytes(wire, servo, address, length, _soon(), patient=True)
        if answer is not None:
            return answer[1]
    raise DriverError(f"servo {servo} on {wire.port.path}: no answer; is it powered, cabled, and is {servo} its id?")


def store(wire: ServoWire, servo: int, address: int, data: Sequence[int]) -> None:
    """Write `data` at `address` and read it back, up to three times. Raises DriverError."""
    for _ in range(_TRIES):
        wire.port.begin(_soon(), patient=True)
        wire.packets.writeTxRx(wire.port, servo, address, len(data), list(data))
        found = fetch(wire, servo, address, len(data))
        if found == list(data):
            return
    raise DriverError(f"servo {servo} on {wire.port.path}: address {address} stays {found}, asked {list(data)}; is it protected?")


def model_of(wire: ServoWire, servo: int) -> int | None:
    """The model number of `servo`; None: nobody answers to that id."""
    for _ in range(_TRIES):
        wire.port.begin(_soon(), patient=True)
        model, result, _ = wire.packets.ping(wire.port, servo)
        if result == COMM_SUCCESS:
            return int(model)
    return None


def _soon() -> int:
    return time.monotonic_ns() + round(_ANSWER_S * 1e9)


def answering(wire: ServoWire, servos: Iterable[int]) -> dict[int, int]:
    """The model numbers of those of `servos` that are there, each asked once."""
    found = {}
    for servo in servos:
        wire.port.begin(_soon())
        model, result, _ = wire.packets.ping(wire.port, servo)
        if result == COMM_SUCCESS:
            found[servo] = int(model)
    return found


def word(data: Sequence[int], at: int) -> int:
    """Two bytes, low first."""
    return data[at] | data[at + 1] << 8


def magnitude(value: int, sign_bit: int) -> int:
    """A number whose bit `sign_bit` says that it is negative."""
    return -(value & ~(1 << sign_bit)) if value >> sign_bit & 1 else value


def signed(data: Sequence[int], at: int, length: int) -> int:
    """A two's complement number of `length` bytes, low first."""
    return int.from_bytes(bytes(data[at : at + length]), "little", signed=True)


def names_of(bits: int, names: Mapping[int, str]) -> tuple[str, ...]:
    """The `names` of the bits that are set."""
    return tuple(name for bit, name in names.items() if bits >> bit & 1)
