"""HID reports of SpaceMice old and new, as bytes through a device file."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.spacemouse import SpaceMouse, _is_one
from robot_stack.errors import DriverError
from tests.drivers import teleop_rig as rig


@pytest.fixture
def line(tmp_path: Path) -> Iterator[object]:
    made = rig.Line(tmp_path / "hidraw0")
    yield made
    made.unplug()


@pytest.fixture
def mouse(line) -> Iterator[SpaceMouse]:
    opened = SpaceMouse(str(line.path), silent_s=60.0)
    yield opened
    opened.close()


def axes(mouse: SpaceMouse) -> list[float]:
    found = mouse.read()
    return [found[name] for name in ("x", "y", "z", "rx", "ry", "rz")]


def test_an_old_one_reports_translation_and_rotation_apart(line, mouse: SpaceMouse) -> None:
    line.write(struct.pack("<B3h", 1, 175, -350, 35))
    line.write(struct.pack("<B3h", 2, 0, 700, -35))
    assert axes(mouse) == [0.5, -1.0, 0.1, 0.0, 1.0, -0.1]


def test_a_new_one_reports_both_together(line, mouse: SpaceMouse) -> None:
    line.write(struct.pack("<B6h", 1, 350, 0, 0, 0, 0, -175))
    assert axes(mouse) == [1.0, 0.0, 0.0, 0.0, 0.0, -0.5]


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_buttons_are_bits_however_many_bytes_they_have(line, mouse: SpaceMouse, size: int) -> None:
    line.write(bytes([3]) + (2).to_bytes(size, "little"))
    found = mouse.read()
    assert (found["button0"], found["button1"], found["button2"]) == (0.0, 1.0, 0.0)


def test_reports_of_other_kinds_and_cut_ones_change_nothing(line, mouse: SpaceMouse) -> None:
    for report in (b"\x17\x64", b"\x01", b"\x01\x05", b"\x02", b"\x03"):
        line.write(report)
    assert not any(mouse.read().values())


def test_a_cap_that_has_said_nothing_for_too_long_is_at_rest_and_its_buttons_stay(line) -> None:
    mouse = SpaceMouse(str(line.path), silent_s=0.0)
    line.write(struct.pack("<B3h", 1, 350, 350, 350))
    line.write(struct.pack("<BH", 3, 1))
    found = mouse.read()
    mouse.close()
    assert (found["x"], found["button0"]) == (0.0, 1.0)


def test_an_unplugged_one_is_named_with_the_next_step(line, mouse: SpaceMouse) -> None:
    line.unplug()
    with pytest.raises(DriverError, match="is gone; plug it in again"):
        mouse.read()


@pytest.mark.parametrize(
    ("identity", "is_one"),
    [
        ("0003:0000256F:0000C635", True),
        ("0003:0000046D:0000C626", True),
        ("0003:0000046D:0000C52B", False),
        ("0005:0000054C:000009CC", False),
        ("nonsense", False),
    ],
)
def test_a_spacemouse_is_known_by_vendor_and_product(tmp_path: Path, identity: str, is_one: bool) -> None:
    uevent = tmp_path / "uevent"
    uevent.write_text(f"DRIVER=hid-generic\nHID_ID={identity}\nHID_NAME=a device\n")
    assert _is_one(uevent) is is_one
