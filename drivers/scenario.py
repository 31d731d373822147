"""What happens to an episode: the obstacle walks into the way, a camera freezes, the light goes, joints get noisy.

`drive` is called at every tick with the episode's time, by the world process and by lock-step runs alike. It keeps no
memory of its own: the same world at the same time is driven the same way.
"""

from dataclasses import dataclass

from drivers.faults import Fault, FaultKind
from drivers.sim_world import SimWorld, Truth
from robot_stack.types import Array

_LIFTED_M = 0.02
_POLITE_M = 0.09


@dataclass(frozen=True, slots=True)
class Visit:
    """The obstacle waits at `wait` from `begin_s`, stands at `stand` (x, y; m) while a cube is carried, and is gone home after `leave_s`."""

    begin_s: float = 0.8
    leave_s: float = 5.5
    wait: tuple[float, float] = (0.50, -0.06)
    stand: tuple[float, float] = (0.32, -0.04)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name, what the obstacle does (None: stands aside) and faults with the episode time (s) each begins."""

    name: str
    visit: Visit | None = None
    faults: tuple[tuple[float, Fault], ...] = ()


_ALL = (
    Scenario("nominal"),
    Scenario("obstacle", visit=Visit()),
    Scenario("frozen", faults=((2.0, Fault(FaultKind.FREEZE, "scene")),)),
    Scenario("dimmed", faults=((1.0, Fault(FaultKind.DIM, "", 0.12)),)),
    Scenario("noise", faults=((0.5, Fault(FaultKind.JOINT_NOISE, amount=0.004)),)),
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def drive(scenario: Scenario, world: SimWorld, t_s: float) -> None:
    """Make `world` do at episode time `t_s` (s since reset) what `scenario` says."""
    for begin_s, fault in scenario.faults:
        if t_s >= begin_s:
            world.apply(fault)
    if scenario.visit is not None and t_s >= scenario.visit.begin_s:
        _visit(scenario.visit, world, t_s)


def _visit(visit: Visit, world: SimWorld, t_s: float) -> None:
    truth = world.truth()
    coming = t_s < visit.leave_s and _carried(truth, world)
    if t_s >= visit.leave_s:
        target = world.obstacle_home
    else:
        target = _at(visit.stand if coming else visit.wait, truth)
    if coming and truth.clearance < _POLITE_M:
        target = truth.obstacle_p
    world.send_obstacle(target, world.task.obstacle_speed)


def _carried(truth: Truth, world: SimWorld) -> bool:
    lifted = world.task.cube_size / 2 + _LIFTED_M
    return max(truth.cube_p[2], truth.decoy_p[2]) > lifted


def _at(xy: tuple[float, float], truth: Truth) -> Array:
    p = truth.obstacle_p.copy()
    p[:2] = xy
    return p
