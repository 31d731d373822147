"""Dynamixel X servos, protocol 2.0, through the vendor's `dynamixel_sdk`.

Addresses and units: the X series control table. Mode "extended position", as a homing offset beyond a quarter turn works in no
other. Goals go to FF FF FD only beside id 253, which is not allowed: the SDK forgets to stuff that sequence when it sends.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from dynamixel_sdk import PacketHandler

from drivers.serial_port import SerialPort
from drivers.servo_bus import (
    MIDDLE,
    TURN,
    Homing,
    Reading,
    collect,
    fetch,
    names_of,
    read_bytes,
    read_in_turn,
    signed,
    store,
    word,
)

FAULTS = {
    0: "voltage out of range",
    2: "overheated",
    3: "encoder fault",
    4: "electrical shock or too little power",
    5: "overload",
}
"""Bits of Hardware Error Status (70). The servo drops its torque with them; only a reboot brings it back."""
_RETURN_DELAY, _MODE, _OFFSET, _MAX, _MIN, _TORQUE, _FAULTS, _P_GAIN = 9, 11, 20, 48, 52, 64, 70, 84
_WATCHDOG, _GOAL, _PRESENT, _PRESENT_LENGTH = 98, 116, 126, 21
_EXTENDED_POSITION, _ALERT, _TRIPPED = 4, 0x80, 0xFF
_SPEED_UNIT = 0.229 / 60.0 * TURN
"""ticks/s of one unit of velocity, 0.229 turns a minute."""
_WATCHDOG_UNIT_S = 0.02


class DynamixelWire:
    """X series servos on `port`."""

    has_watchdog = True
    id_at, error_at = 4, 8

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self.packets = PacketHandler(2.0)

    def read_all(self, servos: Sequence[int], limit_ns: int) -> dict[int, Reading]:
        """A reading of each of `servos` that answered before `limit_ns`; what an alert means is asked at once."""
        answers: dict[int, tuple[int, list[int]]] = read_in_turn(
            servos,
            limit_ns,
            partial(self._sync, limit_ns=limit_ns),
            lambda servo: read_bytes(self, servo, _PRESENT, _PRESENT_LENGTH, limit_ns),
        )
        return {servo: _reading(data, self._faults(servo, error, limit_ns)) for servo, (error, data) in answers.items()}

    def _sync(self, servos: Sequence[int], limit_ns: int) -> dict[int, tuple[int, list[int]]]:
        self.port.begin(limit_ns)
        if self.packets.syncReadTx(self.port, _PRESENT, _PRESENT_LENGTH, list(servos), len(servos), False) != 0:
            return {}
        return collect(self, servos, _PRESENT_LENGTH, lambda: self.packets.rxPacket(self.port, False))

    def _faults(self, servo: int, error: int, limit_ns: int) -> tuple[str, ...]:
        if not error & _ALERT:
            return ()
        answer = read_bytes(self, servo, _FAULTS, 1, limit_ns)
        return ("hardware alert",) if answer is None else names_of(answer[1][0], FAULTS) or ("hardware alert",)

    def write_goals(self, ticks: Mapping[int, int]) -> None:
        """The goal position of each servo, in one packet."""
        parameters: list[int] = []
        for servo, goal in ticks.items():
            parameters += [servo, *goal.to_bytes(4, "little", signed=True)]
        self.port.begin(0)
        self.packets.syncWriteTxOnly(self.port, _GOAL, 4, parameters, len(parameters))

    def holds(self, servo: int, limit_ns: int) -> bool | None:
        """Torque is on, no error, and the watchdog has not tripped. None: no answer before `limit_ns`."""
        answer = read_bytes(self, servo, _TORQUE, _WATCHDOG + 1 - _TORQUE, limit_ns)
        if answer is None:
            return None
        data = answer[1]
        return data[0] == 1 and data[_FAULTS - _TORQUE] == 0 and data[_WATCHDOG - _TORQUE] != _TRIPPED

    def prepare(self, servo: int, p_gain: int) -> None:
        """Answers without delay, extended position mode, `p_gain` (0: as it is). Raises DriverError."""
        for address, value in ((_RETURN_DELAY, 0), (_MODE, _EXTENDED_POSITION)):
            if fetch(self, servo, address, 1) != [value]:
                store(self, servo, address, [value])
        if p_gain:
            store(self, servo, _P_GAIN, [*p_gain.to_bytes(2, "little")])

    def torque(self, servo: int, on: bool) -> None:
        """Power to the motor, or none. Raises DriverError."""
        store(self, servo, _TORQUE, [int(on)])

    def watchdog(self, servo: int, wait_s: float) -> None:
        """Bus Watchdog: the servo stops after `wait_s` (at most 2.54) without a packet; 0 clears it. Raises DriverError."""
        store(self, servo, _WATCHDOG, [0])
        if wait_s > 0.0:
            store(self, servo, _WATCHDOG, [min(max(round(wait_s / _WATCHDOG_UNIT_S), 1), 127)])

    def homing(self, servo: int) -> Homing:
        """What calibration left in the servo. Raises DriverError."""
        offset, high, low = (signed(fetch(self, servo, address, 4), 0, 4) for address in (_OFFSET, _MAX, _MIN))
        return Homing(offset, low, high)

    def set_homing(self, servo: int, homing: Homing) -> None:
        """Store `homing`; torque must be off. Raises DriverError."""
        for address, value in ((_OFFSET, homing.offset), (_MAX, homing.range_max), (_MIN, homing.range_min)):
            store(self, servo, address, [*value.to_bytes(4, "little", signed=True)])

    def offset_to_middle(self, homing: Homing, ticks: int) -> int:
        """``present = encoder + offset``, over many turns."""
        return MIDDLE - (ticks - homing.offset) % TURN


def _reading(data: list[int], faults: tuple[str, ...]) -> Reading:
    """21 bytes from address 126. Current in 2.69 mA (XM and XH; XL has load in 0.1 % there), voltage in 0.1 V."""
    return Reading(
        ticks=signed(data, 6, 4),
        speed=signed(data, 2, 4) * _SPEED_UNIT,
        load=signed(data, 0, 2) / 1000.0,
        current=signed(data, 0, 2) * 0.00269,
        voltage=word(data, 18) / 10.0,
        temperature=float(data[20]),
        faults=faults,
    )
