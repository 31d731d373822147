"""`robot-stack find-arms`: the serial ports there are, by the names that stay, and the servos that answer on each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools.list_ports import comports

from drivers.arms import open_wire
from drivers.servo_bus import answering
from robot_stack.errors import DriverError

BY_ID = Path("/dev/serial/by-id")
IDS = range(21)
SPEEDS = {"feetech": (1_000_000, 115_200), "dynamixel": (1_000_000, 57_600, 2_000_000, 4_000_000)}
"""Bus speeds in use; factory settings: Feetech 1,000,000, Dynamixel 57,600."""
MODELS = {
    "feetech": {777: "STS3215", 2825: "STS3250", 11272: "SM8512BL"},
    "dynamixel": {
        1020: "XM430-W350",
        1030: "XM430-W210",
        1060: "XL430-W250",
        1070: "XC430-W150",
        1120: "XM540-W270",
        1190: "XL330-M077",
        1200: "XL330-M288",
    },
}
_REPLY_S = 0.02


@dataclass(frozen=True, slots=True)
class FoundBus:
    """What answered on the port at `path`: `servos` (id, model number) of `driver` at `baud`; `error`: why nobody looked."""

    path: str
    driver: str = ""
    baud: int = 0
    servos: tuple[tuple[int, int], ...] = ()
    error: str = ""


def main(paths: Sequence[str]) -> int:
    """The command: what answers on `paths` (none: on every serial port)."""
    lines = [told(bus) for bus in find(paths)]
    print("\n".join(lines) or "no serial port; is the arm plugged in, and may this user open it (group dialout)?")
    return 0


def find(paths: Sequence[str] = ()) -> Iterator[FoundBus]:
    """What answers on each of `paths` (none: on every serial port there is): one FoundBus a driver and speed, or an empty one."""
    for path in paths or _ports():
        try:
            found = [bus for driver in SPEEDS for baud in SPEEDS[driver] if (bus := _look(path, driver, baud)).servos]
        except DriverError as error:
            found = [FoundBus(path, error=str(error))]
        yield from found or [FoundBus(path)]


def told(bus: FoundBus) -> str:
    """`bus` as the lines that a person reads."""
    if bus.error:
        return f"{bus.path}\n  not looked at: {bus.error}"
    if not bus.servos:
        return f"{bus.path}\n  no servo answers to ids {IDS[0]} to {IDS[-1]}; is the bus powered?"
    names = MODELS[bus.driver]
    servos = ", ".join(f"{servo} {names.get(model, f'model {model}')}" for servo, model in bus.servos)
    return f"{bus.path}\n  driver: {bus.driver}, baud: {bus.baud}, servos: {servos}"


def _ports() -> list[str]:
    """Every USB serial port, by its name in /dev/serial/by-id where it has one: that stays the same after a reboot."""
    names = {str(link.resolve()): str(link) for link in sorted(BY_ID.glob("*"))}
    return sorted(names.get(port.device, port.device) for port in comports() if port.device in names or port.vid is not None)


def _look(path: str, driver: str, baud: int) -> FoundBus:
    wire = open_wire(driver, path, baud, _REPLY_S)
    try:
        return FoundBus(path, driver, baud, tuple(answering(wire, IDS).items()))
    except OSError as error:
        raise DriverError(f"{path}: {error}") from error
    finally:
        wire.port.close()
