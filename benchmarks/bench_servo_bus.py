"""A round on a bus of six servos: goals to all in one packet, then position, speed, load, voltage and temperature of all.

Unit: milliseconds from the first byte written to the last reading decoded, through the vendors' SDKs and our port, against
the simulated servos of `tests/drivers/` in a process of their own, at the other end of a pseudo-terminal. `against` has the same
with 1 ms of latency before the answers, as a USB adapter has. Not in it: the bits on a wire (1.4 ms at 1 Mbit/s).
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Result
from drivers.arms import SERVOS, open_wire
from drivers.servo_bus import MIDDLE, ServoWire

SIMULATOR = Path(__file__).resolve().parent.parent / "tests" / "drivers" / "servo_simulator.py"
IDS = (1, 2, 3, 4, 5, 6)
ROUNDS, BLOCK = 3000, 100
LATENCY_S, BUDGET_S, REPLY_S = 0.001, 0.5, 0.1


@contextmanager
def bus(kind: str, latency_s: float) -> Iterator[ServoWire]:
    """Servos in a process of their own."""
    command = [sys.executable, str(SIMULATOR), "--kind", kind, "--latency", str(latency_s)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    wire = open_wire(kind, process.stdout.readline().strip(), 1_000_000, REPLY_S)
    try:
        yield wire
    finally:
        wire.port.close()
        process.kill()
        process.wait()


def rounds(wire: ServoWire, count: int) -> tuple[list[float], int]:
    """Milliseconds of each of `count` rounds, and how many servos did not answer in all of them together."""
    took, missing = [], 0
    for i in range(count):
        begin = time.perf_counter_ns()
        wire.write_goals({servo: MIDDLE + i % 20 for servo in IDS})
        found = wire.read_all(IDS, time.monotonic_ns() + round(BUDGET_S * 1e9))
        took.append((time.perf_counter_ns() - begin) * 1e-6)
        missing += len(IDS) - len(found)
    return took, missing


def measure(kind: str) -> Result:
    """Rounds without and with latency, in turns."""
    plain: list[float] = []
    delayed: list[float] = []
    missing = 0
    with bus(kind, 0.0) as near, bus(kind, LATENCY_S) as far:
        rounds(near, 20)
        rounds(far, 20)
        for _ in range(ROUNDS // BLOCK):
            for wire, samples in ((near, plain), (far, delayed)):
                took, lost = rounds(wire, BLOCK)
                samples += took
                missing += lost
    return Result(
        f"servo_bus_{kind}", "ms", plain, {"1 ms of latency": delayed}, {"servos": len(IDS), "answers_missing": missing}
    )


def main(arguments: Sequence[str] = ()) -> list[Result]:
    """One figure a vendor."""
    return [measure(kind) for kind in SERVOS]
