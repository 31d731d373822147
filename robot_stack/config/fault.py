"""What `robot-stack fault` may be told."""

from dataclasses import dataclass, field

from robot_stack.config.schema import RunSettings


@dataclass(frozen=True)
class FaultCommand:
    """Put the `faults` named (separated as in PATH; none: they are listed) into a graph, one after the other, `times` times each.

    The graph is the running one in the folder `graph`, or one started for it, with the policy in `bundle`; the robot must be
    simulated. A started graph mends itself between two faults; what a fault kills in a running one is for its own starter.
    """

    faults: str = ""
    graph: str = ""
    bundle: str = ""
    robot: str = "sim_arm"
    times: int = 1
    run: RunSettings = field(default_factory=RunSettings)
