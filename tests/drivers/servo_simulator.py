"""Servos on a bus, at the far end of a pseudo-terminal: they speak the published protocols, move, get hot, go away.

Feetech: FF FF id length instruction parameters ~sum. Dynamixel 2.0: FF FF FD 00 id length instruction parameters CRC-16, stuffed.
Motion is first order: speed towards the goal, limited in speed and acceleration. Nothing here is taken from the vendors' SDKs.
"""

import argparse
import os
import random
import select
import struct
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field

PING, READ, WRITE, SYNC_READ, SYNC_WRITE, STATUS = 1, 2, 3, 0x82, 0x83, 0x55
BROADCAST = 0xFE
TURN = 4096


@dataclass
class Table:
    """Where a series keeps what the simulator looks at: (address, length)."""

    model: int
    size: int
    torque: tuple[int, int]
    goal: tuple[int, int]
    position: tuple[int, int]
    speed: tuple[int, int]
    offset: tuple[int, int]
    limits: tuple[tuple[int, int], tuple[int, int]]
    voltage: tuple[int, int]
    temperature: tuple[int, int]
    faults: tuple[int, int]
    eeprom_end: int
    lock: int = -1
    watchdog: int = -1


FEETECH = Table(777, 90, (40, 1), (42, 2), (56, 2), (58, 2), (31, 2), ((9, 2), (11, 2)), (62, 1), (63, 1), (65, 1), 40, lock=55)
DYNAMIXEL = Table(
    1060, 150, (64, 1), (116, 4), (132, 4), (128, 4), (20, 4), ((52, 4), (48, 4)), (144, 2), (146, 1), (70, 1), 64, watchdog=98
)


@dataclass
class SimulatedServo:
    """One servo. `encoder`: where the shaft is, ticks, not wrapped; `dropped`: off the bus; `held`: something stops it."""

    table: Table
    encoder: float = 2047.0
    speed: float = 0.0
    speed_max: float = 3000.0
    acceleration_max: float = 60_000.0
    dropped: bool = False
    held: bool = False
    memory: bytearray = field(default_factory=bytearray)
    heard_s: float = 0.0

    def __post_init__(self) -> None:
        self.memory = bytearray(self.table.size)
        self.put((3, 2) if self.table is FEETECH else (0, 2), self.table.model)
        self.put(self.table.limits[1], TURN - 1)
        self.put(self.table.voltage, 74)
        self.put(self.table.temperature, 31)
        if self.table.lock >= 0:
            self.memory[self.table.lock] = 1
        self.refresh()

    def get(self, at: tuple[int, int]) -> int:
        return int.from_bytes(self.memory[at[0] : at[0] + at[1]], "little")

    def put(self, at: tuple[int, int], value: int) -> None:
        self.memory[at[0] : at[0] + at[1]] = (value & (1 << 8 * at[1]) - 1).to_bytes(at[1], "little")

    def signed(self, at: tuple[int, int], sign_bit: int) -> int:
        value = self.get(at)
        if self.table is FEETECH:
            return -(value & ~(1 << sign_bit)) if value >> sign_bit & 1 else value
        return value - (1 << 8 * at[1]) if value >> (8 * at[1] - 1) else value

    @property
    def offset(self) -> int:
        return self.signed(self.table.offset, 11)

    @property
    def present(self) -> int:
        """Feetech: encoder - offset, within a turn. Dynamixel: encoder + offset, over many turns."""
        if self.table is FEETECH:
            return round(self.encoder - self.offset) % TURN
        return round(self.encoder + self.offset)

    def refresh(self) -> None:
        """What moves, into the memory."""
        self.put(self.table.position, self.present)
        if self.table is FEETECH:
            self.put(self.table.speed, abs(round(self.speed)) | (0x8000 if self.speed < 0 else 0))
        else:
            self.put(self.table.speed, round(self.speed * 60 / 0.229 / TURN))

    def goal(self) -> float:
        """The goal as the encoder counts; Feetech never goes through its wrap."""
        ticks = self.signed(self.table.goal, 15)
        return self.encoder + (ticks - self.present if self.table is FEETECH else ticks - self.encoder - self.offset)

    def move(self, dt: float, now_s: float) -> None:
        """First order towards the goal, `speed_max` and `acceleration_max` kept; `table.watchdog` may stop it."""
        watchdog = self.table.watchdog
        if watchdog >= 0 and 0 < self.memory[watchdog] < 128 and now_s - self.heard_s > 0.02 * self.memory[watchdog]:
            self.memory[watchdog] = 0xFF
        powered = self.get(self.table.torque) == 1 and not self.held and (watchdog < 0 or self.memory[watchdog] != 0xFF)
        wanted = max(-self.speed_max, min(self.speed_max, (self.goal() - self.encoder) / 0.02)) if powered else 0.0
        step = self.acceleration_max * dt
        self.speed += max(-step, min(step, wanted - self.speed)) if powered else -self.speed
        self.encoder += self.speed * dt
        self.refresh()

    def write(self, address: int, data: bytes) -> int:
        """Store; 0, or the error number of protocol 2.0."""
        table = self.table
        if address < table.eeprom_end and (self.memory[table.lock] if table.lock >= 0 else self.get(table.torque)):
            return 7
        tripped = table.watchdog >= 0 and self.memory[table.watchdog] == 0xFF
        if tripped and 100 <= address < 120:
            return 4
        before = self.get(table.torque)
        self.memory[address : address + len(data)] = data
        if table is DYNAMIXEL and not before and self.get(table.torque):
            if self.get(table.faults):
                self.put(table.torque, 0)
                return 1
            self.put(table.goal, self.present)
        return 0

    def trip(self, bit: int) -> None:
        """A fault that the servo protects itself from: its bit, no torque."""
        self.put(self.table.faults, self.get(self.table.faults) | 1 << bit)
        self.put(self.table.torque, 0)

    @property
    def error(self) -> int:
        """The error byte of its answers."""
        faults = self.get(self.table.faults)
        return faults if self.table is FEETECH else (0x80 if faults else 0)


def _remainder(byte: int) -> int:
    """Of `byte`, high bit first, by x^16 + x^15 + x^2 + 1."""
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


REMAINDERS = tuple(_remainder(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """CRC-16 of protocol 2.0, from 0."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ REMAINDERS[crc >> 8 ^ byte]
    return crc


def feetech_packets(buffer: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """Whole, sound packets (id, instruction, parameters), taken out of `buffer`."""
    while (at := buffer.find(b"\xff\xff")) >= 0 and len(buffer) >= at + 4 and len(buffer) >= (end := at + 4 + buffer[at + 3]):
        packet = bytes(buffer[at + 2 : end])
        sound = packet[-1] == ~sum(packet[:-1]) & 0xFF
        del buffer[: end if sound else at + 1]
        if sound:
            yield packet[0], packet[2], packet[3:-1]


def feetech_answer(servo: int, error: int, data: bytes) -> bytes:
    body = bytes([servo, len(data) + 2, error]) + data
    return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])


def dynamixel_packets(buffer: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """Whole, sound packets (id, instruction, unstuffed parameters), taken out of `buffer`."""
    head = b"\xff\xff\xfd\x00"
    while (at := buffer.find(head)) >= 0 and len(buffer) >= at + 7:
        end = at + 7 + int.from_bytes(buffer[at + 5 : at + 7], "little")
        if len(buffer) < end:
            return
        packet = bytes(buffer[at:end])
        sound = crc16(packet[:-2]) == int.from_bytes(packet[-2:], "little")
        del buffer[: end if sound else at + 1]
        if sound:
            yield packet[4], packet[7], packet[8:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")


def dynamixel_answer(servo: int, error: int, data: bytes) -> bytes:
    body = (bytes([STATUS, error]) + data).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
    packet = b"\xff\xff\xfd\x00" + bytes([servo]) + struct.pack("<H", len(body) + 2) + body
    return packet + struct.pack("<H", crc16(packet))


class ServoSimulator:
    """Servos `ids` of `kind` on a new pseudo-terminal `path`. `latency_s` before each answer; a share of `loss` of the answers
    is lost, of `corruption` damaged; `lose_next` are lost for sure. A sync read's answers are `chained`: none after a silent one.
    """

    def __init__(self, kind: str = "feetech", ids: tuple[int, ...] = (1, 2, 3, 4, 5, 6), seed: int = 0) -> None:
        self.table = {"feetech": FEETECH, "dynamixel": DYNAMIXEL}[kind]
        self.servos = {i: SimulatedServo(self.table) for i in ids}
        self.latency_s = self.loss = self.corruption = 0.0
        self.lose_next = self.heard = self.lost = 0
        self.chained = kind == "dynamixel"
        self.lock = threading.RLock()
        self._random = random.Random(seed)
        self._buffer = bytearray()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._last_s = time.monotonic()
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The adapter is unplugged."""
        self._open = False
        self._thread.join(timeout=5)
        for handle in (self._master, self._slave):
            try:
                os.close(handle)
            except OSError:
                pass

    def advance(self) -> None:
        """Let the servos move up to now."""
        with self.lock:
            now_s = time.monotonic()
            while self._last_s < now_s:
                dt = min(0.002, now_s - self._last_s)
                self._last_s += dt
                for servo in self.servos.values():
                    servo.move(dt, self._last_s)

    def _run(self) -> None:
        while self._open:
            ready, _, _ = select.select([self._master], [], [], 0.02)
            self.advance()
            if ready:
                try:
                    self._buffer += os.read(self._master, 4096)
                except OSError:
                    return
                parse = feetech_packets if self.table is FEETECH else dynamixel_packets
                for packet in parse(self._buffer):
                    with self.lock:
                        answers = self._obey(*packet)
                    self._send(answers)

    def _obey(self, target: int, instruction: int, parameters: bytes) -> list[bytes]:
        self.heard += 1
        for servo in self.servos.values():
            servo.heard_s = time.monotonic()
        wide = 2 if self.table is DYNAMIXEL else 1
        address = int.from_bytes(parameters[:wide], "little")
        if instruction == SYNC_READ:
            length = int.from_bytes(parameters[wide : 2 * wide], "little")
            return self._sync_read(address, length, parameters[2 * wide :])
        if instruction == SYNC_WRITE:
            length, rest = int.from_bytes(parameters[wide : 2 * wide], "little"), parameters[2 * wide :]
            for at in range(0, len(rest), length + 1):
                if (servo := self.servos.get(rest[at])) and not servo.dropped:
                    servo.write(address, rest[at + 1 : at + 1 + length])
            return []
        servo = self.servos.get(target)
        if servo is None or servo.dropped:
            return []
        if instruction == WRITE:
            error = servo.write(address, parameters[wide:])
            return [self._answer(target, error if self.table is DYNAMIXEL else 0, b"")]
        if instruction == READ:
            length = int.from_bytes(parameters[wide : 2 * wide], "little")
            return [self._answer(target, 0, bytes(servo.memory[address : address + length]))]
        if instruction == PING:
            return [self._answer(target, 0, struct.pack("<HB", self.table.model, 45) if wide == 2 else b"")]
        return []

    def _sync_read(self, address: int, length: int, ids: bytes) -> list[bytes]:
        found: list[bytes] = []
        for i in ids:
            servo = self.servos.get(i)
            if servo is None or servo.dropped:
                if self.chained:
                    break
                continue
            found.append(self._answer(i, 0, bytes(servo.memory[address : address + length])))
        return found

    def _answer(self, i: int, error: int, data: bytes) -> bytes:
        make = feetech_answer if self.table is FEETECH else dynamixel_answer
        return make(i, error | self.servos[i].error, data)

    def _send(self, answers: list[bytes]) -> None:
        """All answers to one packet come after one latency: the adapter hands them on together."""
        if answers and self.latency_s:
            time.sleep(self.latency_s)
        for answer in answers:
            if self.lose_next > 0 or self._random.random() < self.loss:
                self.lose_next = max(0, self.lose_next - 1)
                self.lost += 1
                continue
            if self._random.random() < self.corruption:
                damaged = bytearray(answer)
                damaged[self._random.randrange(4, len(damaged))] ^= 1 << self._random.randrange(8)
                answer = bytes(damaged)
            os.write(self._master, answer)


def main() -> None:
    """A bus of its own process: prints the path, ends with its standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", default="feetech")
    parser.add_argument("--latency", type=float, default=0.0)
    asked = parser.parse_args()
    simulator = ServoSimulator(asked.kind)
    simulator.latency_s = asked.latency
    print(simulator.path, flush=True)
    input()


if __name__ == "__main__":
    main()
