"""Who is on the simulated robot in a lock-step run: the same parts `build.py` gives the nodes, in one process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drivers.dynamics import Change
from drivers.mjcf import TABLE_RGB
from drivers.scripted import ScriptedTeleoperator
from drivers.sim_world import SimWorld
from policies.onnx_policy import OnnxPolicy
from robot_stack.build import robot_key
from robot_stack.config.schema import DetectorSettings, MonitorSettings, SafetySettings, TaskSettings
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.replay.lockstep import Crew, Rates, Sink
from robot_stack.robot import RobotSpec
from safety.detector import Detector
from safety.fallback import BrakeAndRetreat
from safety.layer import SafetyLayer
from safety.monitor import Monitor


@dataclass(frozen=True)
class Setup:
    """One robot in its cell, and how it is protected. `monitor` None: nobody watches the images.

    `robot_file`: the name or path `spec` came from, by which a log of it is replayed ("": a shipped robot, by its name).
    What the world is like and the robot does not know (`replay.resim.perturb`): `world` the robot there (None: as `spec`),
    `changes` of its drives, `table_rgb` (0..1). `seams` of the policy's chunks as in `run.seams`.
    """

    spec: RobotSpec
    task: TaskSettings = field(default_factory=TaskSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    monitor: MonitorSettings | None = field(default_factory=MonitorSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    rates: Rates = field(default_factory=Rates)
    robot_file: str = ""
    world: RobotSpec | None = None
    changes: tuple[Change, ...] = ()
    table_rgb: tuple[float, float, float] = TABLE_RGB
    seams: str = "as_is"


def teleoperated(setup: Setup, seed: int, clumsy: bool = False) -> Crew:
    """The scripted human moves the arm."""
    crew = _crew(setup)
    human = ScriptedTeleoperator(setup.spec, crew.world.truth, crew.world.joints, seed, clumsy)
    return replace(crew, teleoperator=human)


def autonomous(setup: Setup, bundle: Path, candidates: int = 0, noise_seed: int = 42) -> Crew:
    """The policy of `bundle` moves the arm, with N = `candidates` samples (0: as many as the bundle says). Raises PolicyError."""
    policy = OnnxPolicy(bundle, candidates, seed=noise_seed, joint_names=setup.spec.joint_names, seams=setup.seams)
    return Crew(**(vars(_crew(setup)) | {"policy": policy, "instruction": setup.task.instruction}))


def _crew(setup: Setup) -> Crew:
    world = SimWorld(setup.world or setup.spec, setup.task, changes=setup.changes)
    world.paint_table(setup.table_rgb)
    return Crew(
        world=world,
        safety=SafetyLayer(setup.spec, setup.safety),
        fallback=BrakeAndRetreat(setup.spec, setup.safety),
        detector=Detector(setup.spec, setup.detector),
        monitor=None if setup.monitor is None else Monitor(setup.monitor, setup.spec),
        rates=setup.rates,
    )


@contextmanager
def recording(path: Path, setup: Setup, scenario: str, label: Mapping[str, Any]) -> Iterator[Sink]:
    """A sink into a new episode log at `path`; closed on the way out, whatever happens. `label` goes into its metadata."""
    metadata = LogMetadata(
        robot=robot_key(setup.robot_file or setup.spec.name),
        joint_names=setup.spec.joint_names,
        instruction=setup.task.instruction,
        scenario=scenario,
        settings={
            "safety": setup.safety,
            "monitor": setup.monitor,
            "task": setup.task,
            "detector": setup.detector,
            "label": dict(label),
        },
    )
    with LogWriter(path, metadata) as writer:
        yield writer.write_value
