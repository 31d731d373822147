"""Keys and sticks from the kernel's bytes, through evdev's own parser; through the kernel itself where it lets us (uinput)."""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

evdev = pytest.importorskip("evdev", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")

from drivers import evdev_inputs  # noqa: E402
from drivers.evdev_inputs import EvdevInputs, open_evdev  # noqa: E402
from robot_stack.errors import DriverError  # noqa: E402
from tests.drivers import teleop_rig as rig  # noqa: E402

NAMES = ("KEY_W", "BTN_TR", "ABS_X", "ABS_HAT0X")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[object]:
    made = rig.Line(tmp_path / "events")
    yield made
    made.unplug()


@pytest.fixture
def inputs(line, monkeypatch: pytest.MonkeyPatch) -> Iterator[EvdevInputs]:
    monkeypatch.setattr(evdev_inputs.evdev, "InputDevice", rig.recorded_device())
    opened = open_evdev(str(line.path), NAMES)
    yield opened
    opened.close()


def test_keys_are_down_or_up_and_sticks_are_shares_of_their_way(line, inputs: EvdevInputs) -> None:
    assert inputs.read() == dict.fromkeys(NAMES, 0.0)
    for name, value in (("KEY_W", 1), ("ABS_X", -32768), ("ABS_HAT0X", 1)):
        line.write(rig.event(name, value))
    assert inputs.read() == {"KEY_W": 1.0, "BTN_TR": 0.0, "ABS_X": -1.0, "ABS_HAT0X": 1.0}
    line.write(rig.event("KEY_W", 0))
    assert inputs.read()["KEY_W"] == 0.0


def test_a_key_that_repeats_by_itself_was_pressed_before_we_listened_and_is_not_taken_up(line, inputs: EvdevInputs) -> None:
    line.write(rig.event("KEY_W", 2))
    assert inputs.read()["KEY_W"] == 0.0


def test_what_is_not_looked_at_changes_nothing(line, inputs: EvdevInputs) -> None:
    line.write(rig.event("KEY_Q", 1) + rig.event("ABS_Y", 500))
    assert not any(inputs.read().values())


def test_after_a_queue_that_ran_over_the_kernel_is_asked_so_that_no_key_sticks(line, inputs: EvdevInputs) -> None:
    line.write(rig.event("BTN_TR", 1))
    assert inputs.read()["BTN_TR"] == 1.0
    dropped = struct.pack("llHHi", 1, 0, 0, evdev.ecodes.SYN_DROPPED, 0)
    type(inputs._device).at = {evdev.ecodes.ABS_X: 16384}
    line.write(dropped + rig.event("KEY_W", 1))
    found = inputs.read()
    assert (found["BTN_TR"], found["KEY_W"]) == (0.0, 0.0), "the kernel says that nothing is down"
    assert found["ABS_X"] == pytest.approx(0.5, abs=1e-3)


def test_an_unplugged_device_is_named_with_the_next_step(line, inputs: EvdevInputs) -> None:
    line.unplug()
    with pytest.raises(DriverError, match="is gone; plug it in again"):
        inputs.read()


def test_a_stick_that_does_not_rest_in_the_middle_is_refused_as_a_trigger_would_drive_the_arm(
    line, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = rig.recorded_device()
    device.at = {evdev.ecodes.ABS_Z: -32768}
    monkeypatch.setattr(evdev_inputs.evdev, "InputDevice", device)
    with pytest.raises(DriverError, match="axis ABS_Z rests at -32768 .* then start again"):
        open_evdev(str(line.path), ["ABS_Z"])


def test_a_name_the_kernel_does_not_know_is_refused() -> None:
    with pytest.raises(DriverError, match="found 'KEY_ANY_KEY', allowed names of"):
        open_evdev("", ["KEY_ANY_KEY"])


@pytest.mark.skipif(not os.access("/dev/uinput", os.W_OK), reason="needs /dev/uinput, writable: `sudo modprobe uinput`")
def test_a_device_of_the_kernel_itself_is_found_by_its_keys_and_read() -> None:
    able = {
        evdev.ecodes.EV_KEY: [evdev.ecodes.KEY_W, evdev.ecodes.BTN_TR],
        evdev.ecodes.EV_ABS: [(0, evdev.AbsInfo(0, -9, 9, 0, 0, 0))],
    }
    with evdev.UInput(able, name="robot_stack test pad") as kernel:
        opened = open_evdev(kernel.device.path, ("KEY_W", "BTN_TR", "ABS_X"))
        kernel.write(evdev.ecodes.EV_KEY, evdev.ecodes.BTN_TR, 1)
        kernel.write(evdev.ecodes.EV_ABS, evdev.ecodes.ABS_X, -9)
        kernel.syn()
        end = time.monotonic() + 20.0
        while not (found := opened.read())["BTN_TR"] and time.monotonic() < end:
            time.sleep(0.01)
        opened.close()
    assert found == {"KEY_W": 0.0, "BTN_TR": 1.0, "ABS_X": -1.0}
