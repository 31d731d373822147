"""The lock-step world: deterministic, tracks commands, refuses bad ones, fails on demand."""

import numpy as np
import pytest

from drivers.faults import Fault, FaultKind
from drivers.sim_world import SimWorld
from robot_stack.errors import ConfigError, DriverError
from robot_stack.kinematics import Kinematics
from robot_stack.types import JointCommand

TICK = 10_000_000
MS = 1_000_000


def _sweep(world: SimWorld, num_ticks: int) -> float:
    """Move all joints on a sine; the largest tracking error (rad) of the arm's six."""
    q0, worst = world.joints().q, 0.0
    shape = np.array([0.3, 0.2, -0.2, 0.2, 0.3, 0.4, 0.0])
    for i in range(num_ticks):
        phase = 2.0 * i * 0.01
        q, qd = q0 + shape * (1 - np.cos(phase)), 2.0 * shape * np.sin(phase)
        world.send(JointCommand(world.t_ns, q, qd))
        world.advance(TICK)
        worst = max(worst, float(np.abs(world.joints().q - q)[:6].max()))
    return worst


def test_the_arm_follows_a_100_hz_command_closely(world: SimWorld) -> None:
    assert _sweep(world, 200) < 0.02


def test_the_same_seed_and_commands_give_the_same_bits(world: SimWorld) -> None:
    pictures, joints = [], []
    for _ in range(2):
        world.reset(11)
        _sweep(world, 40)
        joints.append(world.joints().q)
        pictures.append(world.render("wrist").rgb)
    np.testing.assert_array_equal(joints[0], joints[1])
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_other_seeds_give_other_starts(world: SimWorld) -> None:
    cubes = []
    for seed in range(5):
        world.reset(seed)
        cubes.append(world.truth().cube_p)
    assert len({tuple(p) for p in cubes}) == 5


@pytest.mark.parametrize("seed", range(10))
def test_a_start_is_unsolved_clear_of_the_obstacle_and_tells_the_cubes_apart(world: SimWorld, seed: int) -> None:
    world.reset(seed)
    truth = world.truth()
    assert not truth.success
    assert truth.clearance > 0.1
    assert np.linalg.norm(truth.cube_p - truth.decoy_p) >= world.task.decoy_distance


def test_time_never_runs_backwards_over_a_reset(world: SimWorld) -> None:
    world.advance(TICK)
    before = world.t_ns
    world.reset(1)
    assert world.t_ns >= before


def test_time_that_is_no_whole_number_of_steps_is_refused(world: SimWorld) -> None:
    with pytest.raises(ConfigError, match="multiple"):
        world.advance(1)


def test_the_true_tip_is_where_kinematics_says(world: SimWorld) -> None:
    np.testing.assert_allclose(world.truth().tip_p, Kinematics(world.spec).tip(world.joints().q)[0], atol=1e-12)


@pytest.mark.parametrize("q", [np.full(7, np.nan), np.zeros(6), np.zeros(8)])
def test_the_drives_refuse_what_is_not_finite_or_of_the_wrong_length(world: SimWorld, q: np.ndarray) -> None:
    with pytest.raises(DriverError):
        world.send(JointCommand(world.t_ns, q))


def test_a_silent_command_stream_makes_the_drives_hold(world: SimWorld) -> None:
    q = world.joints().q
    world.send(JointCommand(world.t_ns, q + 0.05, np.full(7, 0.5)))
    world.advance(100 * TICK)
    for _ in range(50):
        world.advance(TICK)
    still = world.joints()
    assert np.abs(still.qd).max() < 1e-3
    world.advance(20 * TICK)
    np.testing.assert_allclose(world.joints().q, still.q, atol=1e-3)


def test_the_drives_do_not_follow_a_command_far_from_where_they_are(world: SimWorld) -> None:
    q = world.joints().q
    world.send(JointCommand(world.t_ns, q + np.where(np.arange(7) == 1, 0.5, 0.0)))
    for _ in range(30):
        world.advance(TICK)
    np.testing.assert_allclose(world.joints().q, q, atol=1e-3)


def test_the_obstacle_walks_no_faster_than_it_is_told(world: SimWorld) -> None:
    start = world.truth().obstacle_p
    world.send_obstacle(start + [0.0, 0.3, 0.0], 0.25)
    for _ in range(40):
        world.advance(TICK)
    assert np.linalg.norm(world.truth().obstacle_p - start) == pytest.approx(0.1, abs=1e-6)


def test_clearance_is_negative_inside_the_hand(world: SimWorld) -> None:
    world.place_obstacle(world.truth().tip_p)
    assert world.truth().clearance < -0.04


def test_a_live_camera_never_gives_the_same_picture_twice(world: SimWorld) -> None:
    pictures = {world.render("scene").rgb.tobytes() for _ in range(5)}
    assert len(pictures) == 5


def test_a_frozen_camera_repeats_its_picture_with_new_stamps_and_the_other_goes_on(world: SimWorld) -> None:
    last = world.render("scene"), world.render("wrist")
    world.apply(Fault(FaultKind.FREEZE, "scene"))
    world.advance(TICK)
    scene, wrist = world.render("scene"), world.render("wrist")
    np.testing.assert_array_equal(scene.rgb, last[0].rgb)
    assert scene.t_ns == world.t_ns > last[0].t_ns
    assert (wrist.rgb != last[1].rgb).any()


def test_a_camera_that_drops_frames_keeps_the_old_stamp(world: SimWorld) -> None:
    last = world.render("scene")
    world.apply(Fault(FaultKind.DROP, "scene"))
    world.advance(TICK)
    assert world.render("scene").t_ns == last.t_ns


def test_a_dimmed_camera_is_darker(world: SimWorld) -> None:
    light = world.render("scene").rgb.mean()
    world.apply(Fault(FaultKind.DIM, "scene", 0.1))
    assert world.render("scene").rgb.mean() < 0.15 * light


def test_a_late_camera_hands_over_old_frames(world: SimWorld) -> None:
    world.apply(Fault(FaultKind.LATENCY, "scene", 0.1))
    for _ in range(12):
        frame = world.render("scene")
        world.advance(30 * MS)
    assert 100 * MS <= world.t_ns - 30 * MS - frame.t_ns <= 130 * MS


def test_a_torn_picture_is_new_above_and_old_below(world: SimWorld) -> None:
    last = world.render("scene")
    world.apply(Fault(FaultKind.TEAR, "scene", 0.5))
    world.advance(TICK)
    torn, half = world.render("scene"), len(last.rgb) // 2
    assert torn.t_ns == world.t_ns
    assert (torn.rgb[:half] != last.rgb[:half]).any()
    np.testing.assert_array_equal(torn.rgb[half:], last.rgb[half:])
    np.testing.assert_array_equal(world.render("scene").rgb[half:], last.rgb[half:])
    world.apply(Fault(FaultKind.CLEAR))
    assert (world.render("scene").rgb[half:] != last.rgb[half:]).any()


def test_a_stuck_joint_stays_where_it_is_and_its_drive_strains_against_it(world: SimWorld) -> None:
    begin = world.joints().q
    world.apply(Fault(FaultKind.STICK, joint="shoulder"))
    for _ in range(25):
        world.send(JointCommand(world.t_ns, begin + 0.1 * np.eye(7)[1] + 0.1 * np.eye(7)[2]))
        world.advance(TICK)
    moved, strain = world.joints().q - begin, world.joints().tau
    assert strain is not None
    assert abs(moved[1]) < 1e-6 and moved[2] > 0.08
    assert strain[1] > world.spec.tau_max[1] > abs(strain[2])


def test_a_wrong_encoder_is_off_for_who_measures_and_the_arm_is_where_it_was(world: SimWorld) -> None:
    begin, tip = world.joints().q, world.truth().tip_p
    world.apply(Fault(FaultKind.ENCODER, amount=0.5, joint="elbow"))
    np.testing.assert_allclose(world.joints().q - begin, 0.5 * np.eye(7)[2], atol=1e-12)
    np.testing.assert_array_equal(world.truth().tip_p, tip)
    world.apply(Fault(FaultKind.CLEAR))
    np.testing.assert_array_equal(world.joints().q, begin)


def test_drives_behind_a_lost_bus_hear_nothing_and_hold_by_themselves(world: SimWorld) -> None:
    begin = world.joints().q
    world.apply(Fault(FaultKind.BUS))
    assert world.bus_gone
    for _ in range(50):
        world.send(JointCommand(world.t_ns, begin + 0.1))
        world.advance(TICK)
    np.testing.assert_allclose(world.joints().q, begin, atol=1e-3)
    world.reset(0)
    assert not world.bus_gone


def test_joint_noise_is_seen_and_cleared(world: SimWorld) -> None:
    world.apply(Fault(FaultKind.JOINT_NOISE, amount=0.01))
    noisy = np.array([world.joints().q for _ in range(200)])
    assert noisy.std(axis=0) == pytest.approx(np.full(7, 0.01), rel=0.3)
    world.apply(Fault(FaultKind.CLEAR))
    np.testing.assert_array_equal(world.joints().q, world.joints().q)


def test_a_fault_of_an_unknown_camera_names_the_known_ones(world: SimWorld) -> None:
    with pytest.raises(ConfigError, match="scene"):
        world.apply(Fault(FaultKind.DIM, "nose", 0.5))


def test_a_fault_of_an_unknown_joint_names_the_known_ones(world: SimWorld) -> None:
    with pytest.raises(ConfigError, match="shoulder"):
        world.apply(Fault(FaultKind.STICK, joint="nose"))


def test_an_unknown_camera_names_the_known_ones(world: SimWorld) -> None:
    with pytest.raises(ConfigError, match="wrist"):
        world.render("nose")
