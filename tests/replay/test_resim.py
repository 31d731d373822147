"""Re-simulation of our own logs: nothing differs where nothing should, and what differs is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers.dynamics import Change, Part
from drivers.scenario import SCENARIOS
from robot_stack.build import load_robot
from robot_stack.cli import main
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.data.log_reader import read_log
from robot_stack.errors import ContractError, DataError
from robot_stack.replay.crew import Setup, recording, teleoperated
from robot_stack.replay.lockstep import Episode, Rates
from robot_stack.replay.resim.arm import ArmRecording, arm_recording, picture_gap, resimulate_arm, world_of
from robot_stack.replay.resim.divergence import Divergence, Motion, divergence, table
from robot_stack.replay.resim.identify import Unknown, changes_of, identify

SPEC = load_robot("sim_arm")
JOINTS = SPEC.joint_names[:3]


def record(path: Path, seed: int, seconds: float, scenario: str = "nominal") -> Path:
    setup = Setup(SPEC, monitor=None, rates=Rates(camera_hz=5.0))
    with recording(path, setup, scenario, {"seed": seed}) as sink:
        Episode(teleoperated(setup, seed), SCENARIOS[scenario], seed, sink).run(seconds)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("logs")
    record(made / "one", 21, 1.6, "obstacle")
    record(made / "two", 22, 1.4)
    return made


@pytest.fixture(scope="module")
def logs(folder: Path) -> list[ArmRecording]:
    return [arm_recording(read_log(folder / name), pictures=2) for name in ("one", "two")]


def played(recordings: list[ArmRecording], truth: tuple[Change, ...], noise: float) -> list[ArmRecording]:
    """The recordings as a robot with the drives `truth` and noisy sensors would have made them."""
    found = []
    for k, one in enumerate(recordings):
        world = world_of(one, truth)
        motion = resimulate_arm(one, world)
        q = motion.q + np.random.default_rng(k).normal(0.0, noise, motion.q.shape)
        found.append(replace(one, motion=replace(motion, q=q)))
        world.close()
    return found


def simulator(recordings: list[ArmRecording]) -> Callable[..., Divergence]:
    world = world_of(recordings[0])

    def simulate(k: int, changes: tuple[Change, ...]) -> Divergence:
        world.change(changes)
        return divergence(recordings[k].motion, resimulate_arm(recordings[k], world))

    return simulate


def test_a_lock_step_log_is_resimulated_to_the_last_bit(logs: list[ArmRecording]) -> None:
    for one in logs:
        world = world_of(one)
        assert divergence(one.motion, resimulate_arm(one, world)).worst == 0.0
        assert picture_gap(one, world) == [0.0, 0.0]
        world.close()


def test_weaker_drives_diverge_and_more_so_with_more_of_it(logs: list[ArmRecording]) -> None:
    simulate = simulator(logs)
    found = [simulate(0, (Change(Part.GAIN, gain),)).rms for gain in (1.0, 0.8, 0.5)]
    assert found[0] == 0.0 < found[1] < found[2]


def test_a_lead_of_the_stamps_and_as_much_delay_cancel(logs: list[ArmRecording]) -> None:
    world = world_of(logs[0], (Change(Part.DELAY, 0.01),))
    assert divergence(logs[0].motion, resimulate_arm(logs[0], world, lead_s=0.01)).worst < 1e-9
    world.close()


GAIN, FRICTION, DELAY = (
    Unknown(Part.GAIN, 0.4, 2.5, 1.0, JOINTS, "arm"),
    Unknown(Part.FRICTION, 0.0, 5.0, 0.0, JOINTS, "arm"),
    Unknown(Part.DELAY, 0.0, 0.05, 0.0),
)


@pytest.mark.parametrize(
    "unknowns", [(GAIN, DELAY), pytest.param((GAIN, DELAY, FRICTION), marks=pytest.mark.slow)], ids=["two", "three"]
)
def test_the_drives_of_a_robot_are_found_and_help_on_a_log_held_out(
    logs: list[ArmRecording], unknowns: tuple[Unknown, ...]
) -> None:
    truth = {GAIN: 0.7, DELAY: 0.014, FRICTION: 1.5}
    made = played(logs, changes_of(unknowns, [truth[u] for u in unknowns]), noise=5e-4)
    found = identify(unknowns, simulator(made), [0], [1], evaluations=10)
    assert found.helps and found.test_after < 0.2 * found.test_before
    for unknown, value, sigma in zip(unknowns, found.values, found.sigma, strict=True):
        assert abs(value - truth[unknown]) < 5 * sigma < 0.2 * truth[unknown], unknown.name


def test_a_robot_as_modelled_is_left_as_modelled(logs: list[ArmRecording]) -> None:
    unknowns = (Unknown(Part.GAIN, 0.4, 2.5, 1.0, JOINTS, "arm"),)
    found = identify(unknowns, simulator(played(logs, (), noise=5e-4)), [0], [1], evaluations=5)
    assert abs(found.values[0] - 1.0) < 5 * found.sigma[0] < 0.2


def test_what_was_trained_on_is_not_held_out(logs: list[ArmRecording]) -> None:
    with pytest.raises(DataError, match="none in both"):
        identify((Unknown(Part.GAIN, 0.4, 2.5, 1.0),), simulator(logs), [0, 1], [1])


def test_the_command_writes_figures_and_a_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs it: pip install 'robot_stack[train]'")
    assert main(["resim", str(folder), f"out={tmp_path / 'out'}", "pictures=1", "trust=true"]) == 0
    said = capsys.readouterr().out
    assert "? -> no" in said and "0 of 2 re-simulated" in said
    assert "by joint (0.5: cannot be; by what others taught): base_yaw" in said
    assert "success 0.0% -> 0.0% (worth 2.0 of 2 recordings), divergence rms 0 -> 0" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"resim.json", "divergence.png"}


def test_a_log_that_does_not_say_how_its_world_began_is_refused(folder: Path, tmp_path: Path) -> None:
    log = read_log(folder / "two")
    settings = {name: value for name, value in log.metadata.settings.items() if name != "label"}
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", SPEC.joint_names, settings=settings)) as copy:
        step = next(log.steps())
        copy.write_value("/teleop/chunk", step.t_ns, step.inputs.chunk)
        copy.write_value("/arm/verdict", step.t_ns, step)
    with pytest.raises(DataError, match="found no seed"):
        arm_recording(read_log(tmp_path / "log"))


def test_motions_of_other_joints_are_not_compared() -> None:
    t_s = np.arange(3.0)
    one, other = (Motion("m", t_s, names, np.zeros((3, 2))) for names in (("a", "b"), ("a", "c")))
    with pytest.raises(ContractError, match="samples of \\['a', 'c'\\]"):
        divergence(one, other)


def test_a_simulation_that_blew_up_is_infinitely_far_and_printed() -> None:
    t_s = np.arange(3.0)
    one = Motion("m", t_s, ("a",), np.zeros((3, 1)), {"cup": np.zeros((3, 3))}, success=True)
    far = Motion("m", t_s, ("a",), np.array([[0.0], [np.nan], [0.5]]), {"cup": np.full((3, 3), 1.0)}, success=False)
    found = divergence(one, far)
    assert found.worst == np.inf and found.places["cup"][0] == pytest.approx(np.sqrt(3))
    assert "inf" in table([found]) and "yes -> no" in table([found])
