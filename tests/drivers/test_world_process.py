"""The world process: real time, faults live, and every way it can end."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from drivers import shared_world
from drivers.faults import Fault, FaultKind
from drivers.shared_block import FOLDER
from drivers.shared_world import SharedArm, SharedCamera, WorldDirector
from robot_stack.errors import DriverError
from robot_stack.types import CameraFrame, JointCommand, SafeCommand

Start = Callable[..., "subprocess.Popen[bytes]"]
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy computer may put the world aside for longer than who drives an arm would stand."""
    monkeypatch.setattr(shared_world, "DEAD_S", shared_world.DIRECTOR_DEAD_S)


@pytest.fixture(scope="module")
def live() -> Iterator[str]:
    name = f"test.live.{time.monotonic_ns()}"
    process = subprocess.Popen([sys.executable, "-m", "drivers.world_process", "--name", name])
    WorldDirector(name, wait_s=60.0).close()
    yield name
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def director(live: str) -> Iterator[WorldDirector]:
    director = WorldDirector(live)
    director.reset(0)
    yield director
    director.close()


def _until(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not (done := condition()) and time.monotonic() < until:
        time.sleep(0.005)
    return done


def _frames(camera: SharedCamera, num: int) -> list[CameraFrame]:
    frames: list[CameraFrame] = []
    _until(lambda: len(frames) >= num or bool(frames.append(frame) if (frame := camera.read()) else False))
    return frames


def _raises(action: Callable[[], object]) -> bool:
    try:
        action()
    except DriverError:
        return True
    return False


def test_a_reset_to_the_same_seed_puts_everything_where_it_was(director: WorldDirector) -> None:
    places = []
    for seed in (5, 6, 5):
        director.reset(seed)
        now = time.monotonic_ns()
        assert _until(lambda: director.truth().t_ns > now)  # noqa: B023
        places.append(director.truth().cube_p)
    np.testing.assert_allclose(places[0], places[2], atol=1e-4)
    assert np.linalg.norm(places[0] - places[1]) > 1e-3


def test_the_task_is_the_one_it_was_given(name: str, start_process: Start) -> None:
    start_process(name, "--task", '{"obstacle_radius": 0.09, "goal_area": [0.3, 0.3, -0.2, -0.2]}')
    director = WorldDirector(name)
    truth = director.truth()
    assert truth.obstacle_radius == 0.09
    np.testing.assert_allclose(truth.goal_p[:2], [0.3, -0.2])
    director.close()


def test_an_unknown_task_setting_names_the_known_ones() -> None:
    command = [sys.executable, "-m", "drivers.world_process", "--name", "test.never", "--task", '{"cube_sise": 1.0}']
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "task.cube_sise: unknown key; did you mean cube_size" in ended.stderr


def test_an_unknown_scenario_names_the_known_ones(director: WorldDirector) -> None:
    with pytest.raises(DriverError, match="nominal"):
        director.reset(0, "sunday")


def test_a_camera_frozen_live_repeats_its_picture_with_new_stamps(director: WorldDirector, live: str) -> None:
    camera = SharedCamera(live, "scene")
    director.fault(Fault(FaultKind.FREEZE, "scene"))
    frames = _frames(camera, 4)[1:]
    assert all((frame.rgb == frames[0].rgb).all() for frame in frames)
    assert len({frame.t_ns for frame in frames}) == len(frames)
    camera.close()


def test_a_camera_that_drops_frames_live_has_nothing_new(director: WorldDirector, live: str) -> None:
    camera = SharedCamera(live, "wrist")
    _frames(camera, 2)
    director.fault(Fault(FaultKind.DROP, "wrist"))
    camera.read()
    before = director.joints().t_ns
    assert _until(lambda: director.joints().t_ns > before + 200_000_000)
    assert camera.read() is None
    camera.close()


def test_a_dimmed_camera_is_dark_live_until_cleared(director: WorldDirector, live: str) -> None:
    camera = SharedCamera(live, "scene")
    light = _frames(camera, 2)[-1].rgb.mean()
    director.fault(Fault(FaultKind.DIM, "scene", 0.1))
    assert _frames(camera, 3)[-1].rgb.mean() < 0.2 * light
    director.fault(Fault(FaultKind.CLEAR))
    assert _frames(camera, 3)[-1].rgb.mean() > 0.8 * light
    camera.close()


def test_a_silent_client_leaves_the_arm_holding(director: WorldDirector, live: str) -> None:
    arm = SharedArm(live)
    q = arm.read().q
    arm.send(SafeCommand(JointCommand(time.monotonic_ns(), q + 0.02, np.full(7, 0.3))))

    def moved_and_rests() -> bool:
        state = arm.read()
        return bool(np.abs(state.q - q).max() > 0.01 and np.abs(state.qd).max() < 1e-2)

    assert _until(moved_and_rests)
    arm.close()


def test_the_scenario_waits_until_it_is_told_to_begin(director: WorldDirector) -> None:
    director.reset(0, "obstacle", begin=False)
    home, start = director.truth().obstacle_p, director.joints().t_ns
    assert _until(lambda: director.joints().t_ns > start + 1_300_000_000)
    np.testing.assert_allclose(director.truth().obstacle_p, home)
    director.begin()
    assert _until(lambda: float(np.linalg.norm(director.truth().obstacle_p - home)) > 0.05)


def test_a_killed_world_is_a_driver_error_for_every_client_and_does_not_break_the_next_run(
    name: str, start_process: Start
) -> None:
    process = start_process(name)
    arm, camera, director = SharedArm(name), SharedCamera(name, "scene"), WorldDirector(name)
    q = arm.read().q
    process.kill()
    process.wait()
    assert all(_raises(action) for action in (arm.read, camera.read, director.truth))
    assert _raises(lambda: arm.send(SafeCommand(JointCommand(0, q))))
    assert not director.alive()
    start_process(name)
    assert SharedArm(name).read().q.shape == q.shape


def test_a_stopped_world_is_a_driver_error_once_its_state_is_old(name: str, start_process: Start) -> None:
    process = start_process(name)
    arm = SharedArm(name)
    process.send_signal(signal.SIGSTOP)
    last = None
    try:
        assert _until(lambda: _raises(arm.read))
        with pytest.raises(DriverError, match="silent") as last:
            arm.read()
    finally:
        process.send_signal(signal.SIGCONT)
    assert last is not None
    assert _until(lambda: not _raises(arm.read))


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_and_removes_its_memory(name: str, start_process: Start, ending: signal.Signals) -> None:
    process = start_process(name)
    process.send_signal(ending)
    assert process.wait(timeout=PATIENCE_S) == 0
    assert not list(FOLDER.glob(f"robot_stack.{name}*"))


def test_it_ends_with_its_parent(name: str) -> None:
    start = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'drivers.world_process', '--name', {name!r}]); input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], stdin=subprocess.PIPE)
    director = WorldDirector(name, wait_s=60.0)
    parent.kill()
    parent.wait()
    assert _until(lambda: not director.alive())
    assert _until(lambda: not list(FOLDER.glob(f"robot_stack.{name}*")))


def test_a_world_whose_name_is_taken_says_so_and_ends(live: str) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "drivers.world_process", "--name", live], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode != 0
    assert "already running" in second.stderr
