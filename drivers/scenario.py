"""What happens to an episode: the obstacle walks into the way, a camera freezes, the light goes, joints get noisy.

`drive` is called at every tick with the episode's time, by the world process and by lock-step runs alike. It keeps no
memory of its own: the same world at the same time is driven the same way.
"""

from dataclasses import dataclass

import numpy as np

from drivers.faults import Fault, FaultKind
from drivers.sim_world import SimWorld
from robot_stack.types import Array

FRONT_X = 0.22
"""What goes for the hand stays this far (m) in front of the base, which could not give way to it."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The obstacle sets out at `begin_s` and goes home after `leave_s`. In between it makes for `stand` (x, y; m; None: wherever
    the hand is). It stands still while nearer than `polite` m to the arm; 0: it goes on into whatever does not give way."""

    begin_s: float
    leave_s: float
    stand: tuple[float, float] | None
    polite: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name, what the obstacle does (None: stands aside) and faults with the episode time (s) each begins."""

    name: str
    visit: Visit | None = None
    faults: tuple[tuple[float, Fault], ...] = ()


_ALL = (
    Scenario("nominal"),
    # Into the carry path while the arm is on its way to the cube.
    Scenario("obstacle", visit=Visit(0.9, 4.8, stand=(0.31, -0.05), polite=0.05)),
    # At the hand and away again, as somebody reaching into the cell: to go on as if alone is to be touched.
    Scenario("intruder", visit=Visit(0.9, 3.4, stand=None)),
    # At the hand for good: close calls to learn from.
    Scenario("chase", visit=Visit(1.0, 3600.0, stand=None)),
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
    target: Array = world.obstacle_home
    if t_s < visit.leave_s:
        x, y = visit.stand or (max(truth.tip_p[0], FRONT_X), truth.tip_p[1])
        target = np.array([x, y, truth.obstacle_p[2]])
        if truth.clearance < visit.polite:
            target = truth.obstacle_p
    world.send_obstacle(target, world.task.obstacle_speed)
