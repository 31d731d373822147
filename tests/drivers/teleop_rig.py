"""Far ends of a human's devices: the kernel's bytes, recorded; servos on a pseudo-terminal; a publisher of Joy.

Each has `press`, `push`, `confirm` (True: down), `unplug` and `plug`; `settings` are what opens the device of it.
"""

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from drivers.clutched import ClutchedTeleoperator
from robot_stack.config.load import FOLDER
from robot_stack.config.plain import read
from robot_stack.config.robot_file import load_robot
from robot_stack.config.teleop import TeleopSettings
from robot_stack.robot import RobotSpec
from robot_stack.types import ActionChunk, JointState

HERE = Path(__file__).parent
PATIENCE_S = 20.0


def option(name: str, **changes: Any) -> TeleopSettings:
    """The shipped settings of a device, some changed."""
    return replace(read(TeleopSettings, FOLDER / "teleop" / f"{name}.yaml"), **changes)


class Line:
    """A device file that the test writes: a FIFO that keeps what was written together apart from the rest (O_DIRECT)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = -1
        self.plug()

    def plug(self) -> None:
        os.mkfifo(self.path)
        self._end = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._end, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)

    def write(self, data: bytes) -> None:
        os.write(self._end, data)

    def unplug(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            self.path.unlink()
        self._end = -1


def recorded_device() -> type:
    """evdev's InputDevice on a file of recorded events: they go through its own parser, and no kernel answers about the rest."""
    evdev = pytest.importorskip("evdev", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")

    class RecordedDevice(evdev.InputDevice):  # type: ignore[misc, name-defined]
        """All keys and axes there are, none pushed: sticks -32768..32767, the cross -1..1."""

        down: tuple[int, ...] = ()
        at: dict[int, int] = {}

        def __init__(self, path: str) -> None:
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            self.path, self.name = path, "recorded"

        def capabilities(self, verbose: bool = False, absinfo: bool = True) -> dict[int, list[int]]:
            return {evdev.ecodes.EV_KEY: list(range(0x2FF)), evdev.ecodes.EV_ABS: list(range(0x3F))}

        def absinfo(self, axis_num: int) -> Any:
            least, most = (-1, 1) if axis_num in range(0x10, 0x18) else (-32768, 32767)
            return evdev.AbsInfo(self.at.get(axis_num, 0), least, most, 0, 0, 0)

        def active_keys(self, verbose: bool = False) -> list[int]:
            return list(self.down)

        def close(self) -> None:
            if self.fd >= 0:
                os.close(self.fd)
            self.fd = -1

    return RecordedDevice


def event(name: str, value: int) -> bytes:
    """struct input_event of <linux/input.h> on 64 bits, and the SYN_REPORT behind it."""
    from evdev import ecodes

    kind = ecodes.EV_ABS if name.startswith("ABS_") else ecodes.EV_KEY
    return struct.pack("llHHi", 1, 0, kind, ecodes.ecodes[name], value) + struct.pack("llHHi", 1, 0, 0, 0, 0)


class EvdevRig:
    """A gamepad, a keyboard or a pedal. `kind`: the option of the group; `pushes`: what `push` moves, and how far."""

    def __init__(self, kind: str, folder: Path, ends: ExitStack, pushes: tuple[str, int] = ("KEY_R", 1)) -> None:
        from drivers import evdev_inputs

        self.line = Line(folder / f"{kind}_events")
        ends.callback(self.line.unplug)
        patch = ends.enter_context(pytest.MonkeyPatch.context())
        self.device = recorded_device()
        patch.setattr(evdev_inputs.evdev, "InputDevice", self.device)
        self.settings = option(kind, device=str(self.line.path), retry_s=0.01)
        self._pushes = pushes
        self.plug, self.unplug = self.line.plug, self.line.unplug

    def press(self, down: bool) -> None:
        self.line.write(event(self.settings.clutch, int(down)))

    def confirm(self, down: bool) -> None:
        self.line.write(event(self.settings.confirm, int(down)))

    def push(self, down: bool) -> None:
        self.line.write(event(self._pushes[0], self._pushes[1] if down else 0))


class SpaceMouseRig:
    """A SpaceMouse that reports as the Compact does: all six axes in one, the buttons in another."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.line = Line(folder / "hidraw")
        ends.callback(self.line.unplug)
        self.settings = option("spacemouse", device=str(self.line.path), retry_s=0.01, silent_s=PATIENCE_S)
        self._buttons = 0
        self.plug, self.unplug = self.line.plug, self.line.unplug

    def press(self, down: bool) -> None:
        self._button(0, down)

    def confirm(self, down: bool) -> None:
        self._button(1, down)

    def push(self, down: bool) -> None:
        self.line.write(struct.pack("<B6h", 1, 0, 0, -300 if down else 0, 0, 0, 0))

    def _button(self, number: int, down: bool) -> None:
        self._buttons = self._buttons & ~(1 << number) | down << number
        self.line.write(struct.pack("<BH", 3, self._buttons))


class JoyRig:
    """A publisher of sensor_msgs/Joy in a process of its own, in the ROS domain of this environment or of `environment`."""

    def __init__(self, ends: ExitStack, environment: dict[str, str] | None = None) -> None:
        self.settings = option("joy", silent_s=1.0)
        self._environment = {**os.environ, **(environment or {}), "PYTHONPATH": str(HERE.parents[1])}
        self._axes, self._buttons = [0.0] * 8, [0] * 11
        ends.callback(self.unplug)
        self.plug()

    def plug(self) -> None:
        command = [sys.executable, str(HERE / "joy_publisher.py"), self.settings.device]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=self._environment)
        self._axes, self._buttons = [0.0] * 8, [0] * 11

    def unplug(self) -> None:
        self._process.kill()
        self._process.wait()

    def press(self, down: bool) -> None:
        self._buttons[5] = int(down)
        self._say()

    def confirm(self, down: bool) -> None:
        self._buttons[7] = int(down)
        self._say()

    def push(self, down: bool) -> None:
        self._axes[4] = float(down)
        self._say()

    def _say(self) -> None:
        assert self._process.stdin is not None
        print(*self._axes, "|", *self._buttons, file=self._process.stdin, flush=True)


class LeaderRig:
    """An SO-101 leader on simulated servos behind a symbolic link, as /dev/serial/by-id has one, and a pedal to clutch with."""

    def __init__(self, folder: Path, ends: ExitStack, pedal: bool = True) -> None:
        self.rig = servo_rig()
        self._port = folder / "leader_port"
        self.file = folder / "leader.yaml"
        shipped = (FOLDER / "robots" / "so101_leader.yaml").read_text()
        bus = f"{{port: {self._port}, calibration: {folder / 'leader.json'}, reply_s: 0.05, lost_s: 3.0}}"
        text = shipped.replace("{port: /dev/ttyACM1, baud: 1000000}", bus).replace(
            "control_rate_hz: 100.0", "control_rate_hz: 5.0"
        )
        self.file.write_text(text)
        self.spec = load_robot(str(self.file))
        self.pedal = EvdevRig("leader", folder, ends) if pedal else None
        self.settings = option(
            "leader", leader=str(self.file), retry_s=0.01, device=self.pedal.settings.device if self.pedal else ""
        )
        self.servos: Any = None
        self.plug()
        ends.callback(self.unplug)

    def plug(self) -> None:
        from drivers.calibration import save

        self.servos = self.rig.ServoSimulator("feetech")
        self._port.symlink_to(self.servos.path)
        save(self.rig.calibrated(self.servos, self.spec), self.spec_calibration)

    @property
    def spec_calibration(self) -> Path:
        from drivers.calibration import default_path

        return default_path(self.spec)

    def unplug(self) -> None:
        if self.servos is not None:
            self._port.unlink()
            self.servos.close()
        self.servos = None

    def press(self, down: bool) -> None:
        assert self.pedal is not None
        self.pedal.press(down)

    def confirm(self, down: bool) -> None:
        assert self.pedal is not None
        self.pedal.confirm(down)

    def push(self, down: bool) -> None:
        """Somebody turns the shoulder."""
        with self.servos.lock:
            self.servos.servos[1].encoder += 300 if down else -300


def servo_rig() -> ModuleType:
    """tests/drivers/servo_rig.py; skips where the vendors' packages are not installed."""
    for package in ("serial", "scservo_sdk", "dynamixel_sdk"):
        pytest.importorskip(package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")
    from tests.drivers import servo_rig

    return servo_rig


class Follower:
    """A robot that is where it was left, and a teleoperator that is to move it."""

    def __init__(self, robot: RobotSpec, settings: TeleopSettings, returns: bool = True) -> None:
        from drivers.teleoperators import open_teleoperator

        self.robot = robot
        self.q = np.array(robot.q_home)
        self.device: ClutchedTeleoperator = open_teleoperator(robot, settings, self.joints, lambda: None, returns)

    def joints(self) -> JointState:
        return JointState(time.monotonic_ns(), self.q, np.zeros_like(self.q))

    def follow(self, chunk: ActionChunk) -> None:
        """The arm goes where the chunk begins."""
        self.q = chunk.q[0]

    def until(self, condition: Callable[[ActionChunk | None], object], what: str) -> ActionChunk | None:
        """The first answer for which `condition` holds; a lost device has none."""
        end, lost = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < end:
            try:
                chunk = self.device.act(time.monotonic_ns())
            except Exception as error:
                lost = repr(error)
                time.sleep(0.005)
                continue
            if condition(chunk):
                return chunk
            if chunk is not None:
                self.follow(chunk)
            time.sleep(0.005)
        raise AssertionError(f"{what}: not within {PATIENCE_S} s; {lost or 'the device answers'}")

    def chunk(self, what: str = "a chunk") -> ActionChunk:
        found = self.until(lambda chunk: chunk is not None, what)
        assert found is not None
        return found
