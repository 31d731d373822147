"""Feetech STS servos (STS3215 of the SO-100 and SO-101) through the vendor's `scservo_sdk`.

Addresses, units and sign bits: Feetech's STS memory table. These servos have no watchdog: when the bus falls silent they hold
their last goal. Their goals are one tick ahead of where they are, so that is a stop, with force.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from scservo_sdk import PacketHandler

from drivers.serial_port import SerialPort
from drivers.servo_bus import (
    MIDDLE,
    TURN,
    Homing,
    Reading,
    collect,
    fetch,
    magnitude,
    names_of,
    read_bytes,
    read_in_turn,
    store,
    word,
)

FAULTS = {0: "voltage out of range", 1: "encoder fault", 2: "overheated", 3: "overcurrent", 5: "overload"}
_RETURN_DELAY, _LIMITS, _P_GAIN, _OFFSET, _MODE, _TORQUE, _ACCELERATION, _LOCK, _PRESENT = 7, 9, 21, 31, 33, 40, 41, 55, 56
_PRESENT_LENGTH = 15
_FASTEST = 254


class FeetechWire:
    """STS servos on `port`. The acceleration limit is off in each goal: the safety filter has already shaped the motion."""

    has_watchdog = False
    id_at, error_at = 2, 4

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self.packets = PacketHandler(0)

    def read_all(self, servos: Sequence[int], limit_ns: int) -> dict[int, Reading]:
        """A reading of each of `servos` that answered before `limit_ns`."""
        return read_in_turn(servos, limit_ns, partial(self._sync, limit_ns=limit_ns), partial(self._one, limit_ns=limit_ns))

    def _sync(self, servos: Sequence[int], limit_ns: int) -> dict[int, Reading]:
        self.port.begin(limit_ns)
        sent = self.packets.syncReadTx(self.port, _PRESENT, _PRESENT_LENGTH, list(servos), len(servos))
        if sent != 0:
            return {}
        answers = collect(self, servos, _PRESENT_LENGTH, lambda: self.packets.rxPacket(self.port))
        return {servo: _reading(*answer) for servo, answer in answers.items()}

    def _one(self, servo: int, limit_ns: int) -> Reading | None:
        answer = read_bytes(self, servo, _PRESENT, _PRESENT_LENGTH, limit_ns)
        return None if answer is None else _reading(*answer)

    def write_goals(self, ticks: Mapping[int, int]) -> None:
        """Acceleration, goal, time 0 and speed 0 (no limit of their own) of each servo, in one packet."""
        parameters: list[int] = []
        for servo, goal in ticks.items():
            signed = abs(goal) | (0x8000 if goal < 0 else 0)
            parameters += [servo, _FASTEST, signed & 0xFF, signed >> 8, 0, 0, 0, 0]
        self.port.begin(0)
        self.packets.syncWriteTxOnly(self.port, _ACCELERATION, 7, parameters, len(parameters))

    def holds(self, servo: int, limit_ns: int) -> bool | None:
        """Torque is on. None: no answer before `limit_ns`."""
        answer = read_bytes(self, servo, _TORQUE, 1, limit_ns)
        return None if answer is None else answer[1][0] == 1

    def prepare(self, servo: int, p_gain: int) -> None:
        """Answers without delay, position mode, `p_gain` (0: as it is). Raises DriverError."""
        wanted = {_RETURN_DELAY: 0, _MODE: 0} | ({_P_GAIN: p_gain} if p_gain else {})
        changed = {address: value for address, value in wanted.items() if fetch(self, servo, address, 1) != [value]}
        if changed:
            store(self, servo, _LOCK, [0])
            for address, value in changed.items():
                store(self, servo, address, [value])
            store(self, servo, _LOCK, [1])

    def torque(self, servo: int, on: bool) -> None:
        """Power to the motor, or none. Raises DriverError."""
        store(self, servo, _TORQUE, [int(on)])

    def watchdog(self, servo: int, wait_s: float) -> None:
        """There is none."""

    def homing(self, servo: int) -> Homing:
        """What calibration left in the servo. Raises DriverError."""
        limits = fetch(self, servo, _LIMITS, 4)
        return Homing(magnitude(word(fetch(self, servo, _OFFSET, 2), 0), 11), word(limits, 0), word(limits, 2))

    def set_homing(self, servo: int, homing: Homing) -> None:
        """Store `homing`; torque must be off. Raises DriverError."""
        offset = abs(homing.offset) | (0x800 if homing.offset < 0 else 0)
        store(self, servo, _LOCK, [0])
        store(self, servo, _OFFSET, [offset & 0xFF, offset >> 8])
        store(self, servo, _LIMITS, [*homing.range_min.to_bytes(2, "little"), *homing.range_max.to_bytes(2, "little")])
        store(self, servo, _LOCK, [1])

    def offset_to_middle(self, homing: Homing, ticks: int) -> int:
        """``present = encoder - offset``, within one turn. The offset has 11 bits and a sign: -2048 becomes -2047, a tick off."""
        offset = (ticks + homing.offset - MIDDLE) % TURN
        return max(offset - TURN, 1 - TURN // 2) if offset >= TURN // 2 else offset


def _reading(error: int, data: list[int]) -> Reading:
    """15 bytes from address 56. Speed in ticks/s, load in 0.1 %, voltage in 0.1 V, current in 6.5 mA."""
    return Reading(
        ticks=magnitude(word(data, 0), 15),
        speed=magnitude(word(data, 2), 15),
        load=magnitude(word(data, 4), 10) / 1000.0,
        current=magnitude(word(data, 13), 15) * 0.0065,
        voltage=data[6] / 10.0,
        temperature=float(data[7]),
        faults=names_of(error | data[9], FAULTS),
    )
