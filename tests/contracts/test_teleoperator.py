"""What every Teleoperator does. A new one joins `OPEN`: the robot it moves, and a function from the `Bench` to its far end."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.control import GIVE, HUMAN_SOURCES, TAKE
from robot_stack.errors import DriverError
from tests.drivers import teleop_rig as rig


@dataclass
class Bench:
    """What the far end of a device needs: fixtures by name, a folder, and a stack that ends what was started for the test."""

    fixture: Callable[[str], Any]
    folder: Path
    ends: ExitStack


def by_twist(open_rig: Callable[[], Any]) -> Any:
    """A device that pushes the tool about."""
    pytest.importorskip("mink", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")
    return open_rig()


def joy(bench: Bench) -> Any:
    domain = bench.fixture("ros_domain")
    patch = bench.ends.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("ROS_DOMAIN_ID", str(domain))
    return by_twist(lambda: rig.JoyRig(bench.ends, dict(os.environ)))


OPEN: dict[str, tuple[str, Callable[[Bench], Any]]] = {
    "gamepad": ("sim_arm", lambda b: by_twist(lambda: rig.EvdevRig("gamepad", b.folder, b.ends, ("ABS_RY", -30_000)))),
    "keyboard": ("sim_arm", lambda b: by_twist(lambda: rig.EvdevRig("keyboard", b.folder, b.ends))),
    "spacemouse": ("sim_arm", lambda b: by_twist(lambda: rig.SpaceMouseRig(b.folder, b.ends))),
    "joy": ("sim_arm", joy),
    "leader": ("so101", lambda b: rig.LeaderRig(b.folder, b.ends)),
}
SLOW = ("joy",)
"""DDS takes up to 3 s to find its peers, for each test anew."""


@dataclass
class Seat:
    """A device with its far end, and the arm that follows it."""

    far: Any
    follower: Any


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in OPEN])
def seat(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Seat]:
    robot, open_far = OPEN[request.param]
    with ExitStack() as ends:
        far = open_far(Bench(request.getfixturevalue, tmp_path, ends))
        follower = rig.Follower(load_robot(robot), far.settings)
        ends.callback(follower.device.close)
        follower.until(lambda chunk: chunk is None, "a hand off the device")
        yield Seat(far, follower)


def test_a_hand_off_the_device_is_silence(seat: Seat) -> None:
    assert seat.follower.device.act(time.monotonic_ns()) is None
    assert not seat.follower.device.done


def test_at_the_clutch_the_arm_is_wanted_where_it_is(seat: Seat) -> None:
    seat.follower.q = seat.follower.q + 0.07
    held = seat.follower.q
    seat.far.push(True)
    seat.far.press(True)
    chunk = seat.follower.chunk()
    assert chunk.source == TAKE and chunk.t0_ns == chunk.t_obs_ns
    np.testing.assert_allclose(chunk.q[0], held, atol=1e-12)


def test_a_chunk_is_whole_and_lasts_until_the_next_one_is_surely_late(seat: Seat) -> None:
    seat.far.press(True)
    chunk = seat.follower.chunk()
    assert chunk.source in HUMAN_SOURCES and np.isfinite(chunk.q).all()
    assert chunk.q.shape[1] == len(seat.follower.robot.joints)
    assert 0.25e9 <= chunk.t_end_ns - chunk.t0_ns <= 0.5e9


def test_a_push_moves_the_arm_within_limits_and_no_faster_than_allowed(seat: Seat) -> None:
    robot = seat.follower.robot
    seat.far.press(True)
    start = seat.follower.chunk().q[0]
    seat.far.push(True)
    moved = seat.follower.until(lambda c: c is not None and np.abs(c.q[0] - start).max() > 0.05, "a moving wish")
    assert (moved.q >= robot.q_min - 1e-9).all() and (moved.q <= robot.q_max + 1e-9).all()
    speed = np.abs(np.diff(moved.q, axis=0)).max(axis=0) / (moved.dt_ns / 1e9)
    if seat.far.settings.kind != "leader":
        assert (speed <= robot.qd_max + 1e-9).all()


def test_letting_go_is_silence_and_gives_nothing_back_until_confirmed(seat: Seat) -> None:
    seat.far.press(True)
    seat.follower.chunk()
    seat.far.press(False)
    seat.follower.until(lambda chunk: chunk is None, "silence")
    assert not seat.follower.device.done
    seat.far.confirm(True)
    given = seat.follower.chunk("that the arm is given back")
    assert given.source == GIVE and seat.follower.device.done
    assert (given.q == given.q[0]).all()
    seat.far.confirm(False)
    seat.far.press(True)
    seat.follower.until(lambda chunk: chunk is not None and chunk.source == TAKE, "the clutch again")
    assert not seat.follower.device.done


def pressed_until_it_leads(seat: Seat, end: float) -> bool:
    """As a person would: a press that comes before the device was tried again is refused, the clutch has to be opened first."""
    while time.monotonic() < end:
        seat.far.press(True)
        for _ in range(50):
            with suppress(DriverError):
                if seat.follower.device.act(time.monotonic_ns()) is not None:
                    return True
            time.sleep(0.005)
        seat.far.press(False)
        seat.follower.until(lambda chunk: chunk is None, "an open clutch")
    return False


def test_a_device_unplugged_in_the_hand_is_said_and_comes_back_with_an_open_clutch(seat: Seat) -> None:
    seat.far.press(True)
    seat.follower.chunk()
    seat.far.unplug()
    end = time.monotonic() + 60.0
    with pytest.raises(DriverError):
        while time.monotonic() < end:
            seat.follower.device.act(time.monotonic_ns())
            time.sleep(0.005)
    assert not seat.follower.device.done
    seat.far.plug()
    seat.follower.until(lambda chunk: chunk is None, "the device again")
    seat.far.press(False)
    seat.follower.until(lambda chunk: chunk is None, "an open clutch")
    assert not seat.follower.device.done
    assert pressed_until_it_leads(seat, end)


def test_after_a_pause_the_hand_goes_on_from_where_the_arm_is_then(seat: Seat) -> None:
    seat.far.press(True)
    seat.follower.chunk()
    seat.follower.q = elsewhere = seat.follower.q + 0.2
    later_ns = time.monotonic_ns() + 200_000_000
    while later_ns > time.monotonic_ns():
        time.sleep(0.01)
    chunk = seat.follower.chunk()
    np.testing.assert_allclose(chunk.q[0], elsewhere, atol=0.01)


def test_closing_twice_is_allowed_and_leaves_the_device_to_the_next(seat: Seat) -> None:
    seat.follower.device.close()
    seat.follower.device.close()
    following = rig.Follower(seat.follower.robot, seat.far.settings)
    following.until(lambda chunk: chunk is None, "a hand off the device")
    seat.far.press(True)
    assert following.chunk().source == TAKE
    following.device.close()


@pytest.mark.parametrize("kind", ["gamepad", "keyboard", "spacemouse"])
def test_a_device_that_is_not_there_is_an_error_with_a_next_step(kind: str) -> None:
    pytest.importorskip("mink", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")
    pytest.importorskip("evdev", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")
    with pytest.raises(DriverError, match="start again"):
        rig.Follower(load_robot("sim_arm"), rig.option(kind, device="/dev/input/by-id/no-such-device"))


def test_the_script_that_plays_a_human_sends_whole_chunks_and_has_no_device_to_lose() -> None:
    pytest.importorskip("mujoco", reason="needs the extra `sim`: pip install 'robot_stack[sim]'")
    from drivers.scripted import ScriptedTeleoperator
    from drivers.sim_world import SimWorld
    from robot_stack.config.schema import TaskSettings

    with closing(SimWorld(load_robot("sim_arm"), TaskSettings())) as world:
        world.reset(0)
        human = ScriptedTeleoperator(world.spec, world.truth, world.joints, 0, clumsy=False)
        chunk = human.act(world.t_ns)
    assert chunk.source in HUMAN_SOURCES and np.isfinite(chunk.q).all() and chunk.q.shape[1] == 7
    assert chunk.t0_ns == world.t_ns and not human.done
    human.close()
    human.close()


def test_a_package_that_is_not_installed_is_named_with_the_extra_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mink", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")
    monkeypatch.setitem(sys.modules, "evdev", None)
    monkeypatch.delitem(sys.modules, "drivers.evdev_inputs", raising=False)
    with pytest.raises(DriverError, match=r"teleop keyboard: evdev is not installed; next: pip install 'robot_stack\[teleop\]'"):
        rig.Follower(load_robot("sim_arm"), rig.option("keyboard"))
