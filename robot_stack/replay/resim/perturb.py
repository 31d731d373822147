"""What may be otherwise in a world than where the policy was trained: one `Perturbation`, drawn anew from the seed of an episode.

The draw depends on the seed and on nothing else, so that two policies, or one with and without a protection, meet the same
perturbed world on the same seed. The robot is not told: its calibration, limits and filter are those of the unperturbed setup.
"""

from dataclasses import dataclass, replace

import numpy as np

from drivers.dynamics import Change, Part
from drivers.faults import Fault, FaultKind
from drivers.scenario import Scenario
from robot_stack.config.schema import TaskSettings
from robot_stack.errors import ConfigError
from robot_stack.replay.crew import Setup
from robot_stack.robot import RobotSpec

_STREAM = 11
Area = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Perturbation:
    """Strengths; the default of each is "as trained".

    `areas` widens where the cubes and the goal start about their middle, `home_jitter` how far from home the arm does (factors).
    `decoy_distance` m: how near the decoy may be (0: as the task says). `light_min`: all cameras' light is drawn from there to 1.
    `camera_m`, `aim_m`: 1 std of each camera's place and of the point it looks at; `tint`: 1 std of the table's colour (0..1).
    `pixel_noise`: added to the share of noisy values; `joint_noise` rad (1 std); `frame_latency_s`: of all cameras.
    `late_share` of the policy's decisions take `late_s` longer. `gain`, `damping`, `mass`: 1 std of the logarithm of each joint's
    factor; `friction` N m and `delay_s`: the most that is added to it.
    """

    areas: float = 1.0
    home_jitter: float = 1.0
    decoy_distance: float = 0.0
    light_min: float = 1.0
    camera_m: float = 0.0
    aim_m: float = 0.0
    tint: float = 0.0
    pixel_noise: float = 0.0
    joint_noise: float = 0.0
    frame_latency_s: float = 0.0
    late_share: float = 0.0
    late_s: float = 0.0
    gain: float = 0.0
    damping: float = 0.0
    mass: float = 0.0
    friction: float = 0.0
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.light_min <= 1.0 or not 0.0 <= self.late_share <= 0.9:
            found = f"light_min {self.light_min}, late_share {self.late_share}"
            raise ConfigError(
                f"perturbation: found {found}; allowed 0 < light_min <= 1 (pictures do not get brighter), late_share <= 0.9"
            )


UNPERTURBED = Perturbation()


def perturbed(perturbation: Perturbation, setup: Setup, scenario: Scenario, seed: int) -> tuple[Setup, Scenario]:
    """`setup` and `scenario` as they are on `seed`. Without perturbation both come back as they are."""
    if perturbation == UNPERTURBED:
        return setup, scenario
    p, streams = perturbation, np.random.default_rng([seed, _STREAM]).spawn(4)
    world = replace(
        setup,
        task=_task(p, setup.task),
        world=_looking(p, setup.world or setup.spec, streams[0]),
        changes=(*setup.changes, *_changes(p, setup.spec, streams[1])),
        table_rgb=_table(p, setup, streams[2]),
        rates=replace(setup.rates, policy_latency_s=_latencies(p, setup.rates.policy_latency_s)),
    )
    return world, replace(scenario, faults=(*scenario.faults, *_faults(p, streams[3])))


def _task(p: Perturbation, task: TaskSettings) -> TaskSettings:
    return replace(
        task,
        cube_area=_widened(task.cube_area, p.areas),
        goal_area=_widened(task.goal_area, p.areas),
        home_jitter=task.home_jitter * p.home_jitter,
        decoy_distance=p.decoy_distance or task.decoy_distance,
        pixel_noise=min(task.pixel_noise + p.pixel_noise, 1.0),
    )


def _widened(area: Area, factor: float) -> Area:
    x, y = (area[0] + area[1]) / 2, (area[2] + area[3]) / 2
    half_x, half_y = factor * (area[1] - area[0]) / 2, factor * (area[3] - area[2]) / 2
    return x - half_x, x + half_x, y - half_y, y + half_y


def _looking(p: Perturbation, spec: RobotSpec, rng: np.random.Generator) -> RobotSpec:
    """The robot as it is in the world: cameras not quite where the calibration says."""
    cameras = []
    for camera in spec.cameras:
        place, aim = p.camera_m * rng.standard_normal(3), p.aim_m * rng.standard_normal(3)
        origin = (camera.origin[0] + place[0], camera.origin[1] + place[1], camera.origin[2] + place[2])
        target = (camera.target[0] + aim[0], camera.target[1] + aim[1], camera.target[2] + aim[2])
        cameras.append(replace(camera, origin=origin, target=target))
    return replace(spec, cameras=tuple(cameras))


def _changes(p: Perturbation, spec: RobotSpec, rng: np.random.Generator) -> list[Change]:
    """Drives of the revolute joints, each its own; a gripper stays as it is."""
    found = []
    for joint in spec.joints:
        factors = np.exp(np.array([p.gain, p.damping, p.mass]) * rng.standard_normal(3))
        friction = p.friction * rng.uniform()
        if joint.kind == "revolute":
            parts = zip((Part.GAIN, Part.DAMPING, Part.MASS), factors, strict=True)
            found += [Change(part, float(factor), (joint.name,)) for part, factor in parts if factor != 1.0]
            found += [Change(Part.FRICTION, friction, (joint.name,))] if friction else []
    delay_s = p.delay_s * rng.uniform()
    return [*found, Change(Part.DELAY, delay_s)] if delay_s else found


def _table(p: Perturbation, setup: Setup, rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = np.clip(np.array(setup.table_rgb) + p.tint * rng.standard_normal(3), 0.0, 1.0)
    return float(red), float(green), float(blue)


def _latencies(p: Perturbation, measured: tuple[float, ...]) -> tuple[float, ...]:
    """Samples to draw from: the measured ones, and in their right share the same ones late."""
    if not p.late_share:
        return measured
    late = max(1, round(10 * p.late_share))
    return measured * (10 - late) + tuple(s + p.late_s for s in measured) * late


def _faults(p: Perturbation, rng: np.random.Generator) -> list[tuple[float, Fault]]:
    light = float(rng.uniform(p.light_min, 1.0))
    amounts = {FaultKind.DIM: light, FaultKind.LATENCY: p.frame_latency_s, FaultKind.JOINT_NOISE: p.joint_noise}
    wanted = {
        FaultKind.DIM: p.light_min < 1.0,
        FaultKind.LATENCY: p.frame_latency_s > 0,
        FaultKind.JOINT_NOISE: p.joint_noise > 0,
    }
    return [(0.0, Fault(kind, amount=amounts[kind])) for kind in amounts if wanted[kind]]
