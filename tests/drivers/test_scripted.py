"""The scripted teleoperator, its chunks played through the ChunkBuffer at 100 Hz into the world, limits as a filter has them."""

from dataclasses import dataclass

import numpy as np
import pytest

from drivers.reach import Reach
from drivers.scenario import SCENARIOS, drive
from drivers.scripted import ScriptedTeleoperator
from drivers.sim_world import SimWorld, Truth
from drivers.strokes import StrokePlan
from robot_stack.chunks import ChunkBuffer
from robot_stack.clock import seconds
from robot_stack.types import Array, JointCommand

TICK = 10_000_000
_GAIN = 8.0


@dataclass
class Run:
    """How an episode went: `duration_s` of simulated time, the smallest true clearance (m), the largest tracking error (rad)."""

    truth: Truth
    duration_s: float
    clearance: float
    tracking: float


def play(world: SimWorld, seed: int, clumsy: bool = False, scenario: str = "nominal", limit_s: float = 12.0) -> Run:
    """One episode from `seed`; speed and acceleration limited, nothing else."""
    world.reset(seed)
    begin, chunks, clearance, tracking = world.t_ns, ChunkBuffer(), np.inf, 0.0
    human = ScriptedTeleoperator(world.spec, world.truth, world.joints, seed, clumsy)
    command = JointCommand(begin, world.joints().q, np.zeros(7))
    while seconds(world.t_ns - begin) < limit_s and not human.done:
        drive(SCENARIOS[scenario], world, seconds(world.t_ns - begin))
        if (world.t_ns - begin) % (10 * TICK) == 0:
            chunks, refused = chunks.push(human.act(world.t_ns), world.t_ns)
            assert refused is None
        command = _limited(world, chunks.at(world.t_ns), command)
        world.send(command)
        world.advance(TICK)
        clearance = min(clearance, world.truth().clearance)
        tracking = max(tracking, float(np.abs(world.joints().q - command.q)[:6].max()))
    return Run(world.truth(), seconds(world.t_ns - begin), clearance, tracking)


def _limited(world: SimWorld, wish: JointCommand | None, last: JointCommand) -> JointCommand:
    assert wish is not None and wish.qd is not None and last.qd is not None
    step = world.spec.qdd_max * 0.01
    qd = np.clip(wish.qd + _GAIN * (wish.q - last.q), last.qd - step, last.qd + step)
    qd = np.clip(qd, -world.spec.qd_max, world.spec.qd_max)
    return JointCommand(world.t_ns, np.clip(last.q + 0.01 * qd, world.spec.q_min, world.spec.q_max), qd)


def _on_goal(p: Array, truth: Truth) -> bool:
    return float(np.linalg.norm(p[:2] - truth.goal_p[:2])) < 0.06


@pytest.mark.parametrize("seed", range(6))
def test_it_puts_the_cube_on_the_goal_within_seven_seconds(world: SimWorld, seed: int) -> None:
    run = play(world, seed)
    assert run.truth.success
    assert run.duration_s <= 7.0
    assert run.tracking < 0.03


@pytest.mark.slow
def test_it_succeeds_on_at_least_97_of_100_seeds(world: SimWorld) -> None:
    assert sum(play(world, seed).truth.success for seed in range(100)) >= 97


@pytest.mark.parametrize("seed", range(2))
def test_when_clumsy_it_puts_the_decoy_on_the_goal(world: SimWorld, seed: int) -> None:
    run = play(world, seed, clumsy=True)
    assert not run.truth.success
    assert _on_goal(run.truth.decoy_p, run.truth)


@pytest.mark.parametrize("seed", range(3))
def test_it_gets_past_an_obstacle_without_touching_it(world: SimWorld, seed: int) -> None:
    run = play(world, seed, scenario="obstacle")
    assert run.truth.success
    assert run.clearance > 0.02


def test_its_motion_is_smooth(world: SimWorld) -> None:
    """Over rows of 50 ms, no joint turns with more than 12 rad/s^2."""
    world.reset(4)
    human = ScriptedTeleoperator(world.spec, world.truth, world.joints, 4, False)
    rows = human.act(world.t_ns).q
    assert np.abs(np.diff(rows[:, :6], 2, axis=0)).max() / 0.05**2 < 12.0


@pytest.mark.parametrize("aside", [(-0.02, 0.0), (0.02, 0.0), (0.0, -0.02), (0.0, 0.02)])
def test_a_cube_two_centimetres_off_is_still_grasped(world: SimWorld, aside: tuple[float, float]) -> None:
    world.reset(2)
    reach, cube = Reach(world.spec), world.truth().cube_p
    here = np.array([*world.truth().tip_p, 0.04])
    plan = StrokePlan(here, np.zeros(4))
    x, y = cube[:2] + aside
    for place, duration_s in (
        ((x, y, 0.1, 0.04), 1.0),
        ((x, y, 0.012, 0.04), 0.6),
        ((x, y, 0.012, 0.012), 0.4),
        ((x, y, 0.15, 0.012), 0.8),
    ):
        plan.to(np.array(place), duration_s)
    _follow(world, reach, plan)
    assert world.truth().cube_p[2] > 0.1


def _follow(world: SimWorld, reach: Reach, plan: StrokePlan) -> None:
    q = reach.solve(world.joints().q, plan.at(0.0)[:3])
    for tick in range(round(plan.end_s * 100)):
        place = plan.at(tick * 0.01)
        q = reach.solve(q, place[:3])
        q = np.where(np.arange(7) == 6, place[3], q)
        world.send(JointCommand(world.t_ns, q))
        world.advance(TICK)


def test_inverse_kinematics_finds_what_forward_kinematics_confirms(world: SimWorld) -> None:
    reach = Reach(world.spec)
    for p in ([0.3, 0.2, 0.02], [0.35, -0.2, 0.15], [0.22, 0.0, 0.3]):
        q = reach.solve(np.array(world.spec.q_home), np.array(p), iterations=50)
        tip, R_W, _ = reach.kinematics.tip(q)
        np.testing.assert_allclose(tip, p, atol=1e-4)
        np.testing.assert_allclose(R_W, np.eye(3), atol=1e-3)


def test_overlapping_strokes_end_where_the_last_one_aims_and_start_with_the_velocity_given() -> None:
    plan = StrokePlan(np.zeros(2), np.array([0.1, 0.0]))
    plan.to(np.array([1.0, 0.0]), 1.0)
    plan.to(np.array([1.0, 2.0]), 1.0, overlap=0.4)
    np.testing.assert_allclose(plan.at(plan.end_s), [1.0, 2.0], atol=1e-12)
    np.testing.assert_allclose((plan.at(1e-4) - plan.at(0.0)) / 1e-4, [0.1, 0.0], atol=1e-4)
