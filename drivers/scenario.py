"""What happens to an episode: the obstacle walks into the way, a camera freezes, the light goes, joints get noisy.

`drive` is called at every tick with the episode's time, by the world process and by lock-step runs alike. It keeps no
memory of its own: the same world at the same time is driven the same way.
"""

from dataclasses import dataclass

import numpy as np

from drivers.faults import Fault, FaultKind
from drivers.sim_world import SimWorld
from robot_stack.types import Array


@dataclass(frozen=True, slots=True)
class Visit:
    """The obstacle sets out at `begin_s` (the arm is on its way to the cube), stands at `stand` (x, y; m) in the carry path
    and goes home after `leave_s`. It never walks into the arm: nearer than `polite` m it stands still."""

    begin_s: float = 0.9
    leave_s: float = 4.8
    stand: tuple[float, float] = (0.31, -0.05)
    polite: float = 0.05


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name, what the obstacle does (None: stands aside) and faults with the episode time (s) each begins.

    From `chase_s` (None: never) the obstacle goes for the hand and does not stop short: close calls, for training and trials.
    """

    name: str
    visit: Visit | None = None
    chase_s: float | None = None
    faults: tuple[tuple[float, Fault], ...] = ()


_ALL = (
    Scenario("nominal"),
    Scenario("obstacle", visit=Visit()),
    Scenario("chase", chase_s=1.0),
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
    if scenario.chase_s is not None and t_s >= scenario.chase_s:
        truth = world.truth()
        hand = np.array([*truth.tip_p[:2], truth.obstacle_p[2]])
        world.send_obstacle(hand, world.task.obstacle_speed)
    if scenario.visit is not None and t_s >= scenario.visit.begin_s:
        _visit(scenario.visit, world, t_s)


def _visit(visit: Visit, world: SimWorld, t_s: float) -> None:
    truth = world.truth()
    target: Array = world.obstacle_home
    if t_s < visit.leave_s:
        target = np.array([*visit.stand, truth.obstacle_p[2]])
        if truth.clearance < visit.polite:
            target = truth.obstacle_p
    world.send_obstacle(target, world.task.obstacle_speed)
