"""Made-up logs in which a policy and a person take turns."""

import numpy as np

from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.types import (
    CameraFrame,
    Decision,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
)

JOINTS = ("base", "elbow", "grip")
TICK, START = 10_000_000, 10**12


def write_turns(folder, modes, seed=0, robot="sim_arm", joints=JOINTS, rgb=None, hazard=None, q=None):
    """A log at 100 Hz, one tick in each of `modes`; `q` (n, J), or a random walk; `rgb` one picture, taken again and again."""
    with LogWriter(folder, LogMetadata(robot, joints, instruction="Go."), patient=True) as log:
        write_ticks(log, modes, seed, joints, rgb, hazard, q)
    return folder


def write_ticks(log, modes, seed=0, joints=JOINTS, rgb=None, hazard=None, q=None):
    """The ticks of `write_turns`, into a log that is open."""
    random = np.random.default_rng(seed)
    q = np.cumsum(random.normal(0, 0.01, (len(modes), len(joints))), axis=0) if q is None else q
    for i, mode in enumerate(modes):
        t = START + i * TICK
        state = JointState(t - 1, q[i], np.zeros(len(joints)))
        if rgb is not None and i % 4 == 0:
            log.write_value("/scene/image", t, CameraFrame("scene", t, rgb))
        if hazard is not None and i % 4 == 0:
            one = np.ones(1)
            log.write_value("/monitor/hazards", t, Hazards(t, np.array([hazard]), 0.05 * one, 0.001 * one, 0.1 * one))
        command = SafeCommand(JointCommand(t, q[i] + 0.01, np.zeros(len(joints))))
        log.write_value("/joint_states", t, state)
        log.write_value(
            "/arm/verdict", t, Step(t, 2000, TickInputs(joints=state), SafetyVerdict(t, mode, Decision.PASS, None, command))
        )


DEMO = [Mode.TELEOP] * 100
HELPED = [Mode.POLICY] * 60 + [Mode.TELEOP] * 20 + [Mode.POLICY] * 20


def write_set(folder):
    """Two demonstrations, and an episode of a policy that a person helped for 0.2 s."""
    write_turns(folder / "a", DEMO, seed=1)
    write_turns(folder / "b", DEMO, seed=2)
    write_turns(folder / "c", HELPED, seed=3)
    return folder
