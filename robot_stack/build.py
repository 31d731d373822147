"""Configuration -> objects. One match for each choice, imports inside the branches: a process loads only what it runs.

`Run` is what the nodes of one graph share; the supervisor writes it to a run file (`save`), every node reads it (`load`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robot_stack.config import plain
from robot_stack.config.collect import CollectSettings
from robot_stack.config.robot_file import load_robot as load_robot
from robot_stack.config.schema import DetectorSettings, MonitorSettings, RunSettings, SafetySettings, TaskSettings
from robot_stack.config.teleop import TeleopSettings
from robot_stack.errors import ConfigError, DriverError, PolicyError
from robot_stack.interfaces import Arm, Camera, FallbackController, Policy, Safety, Teleoperator
from robot_stack.names import check_names
from robot_stack.robot import RobotSpec
from robot_stack.seal import make_keys
from robot_stack.shadow import ShadowArm
from robot_stack.types import Array, JointState

if TYPE_CHECKING:
    from safety.detector import Detector
    from safety.monitor import Monitor

DRIVERS = ("sim",)


@dataclass(frozen=True)
class Run:
    """One launch of the graph. `robot_file`: name or path; `world`: the simulated world's shared memory ("" = real hardware);
    `folder`: where the log goes; `bundle`: the policy ("" = none); `shadow`: nothing is sent to the arm; `seed` and `clumsy` are
    the scripted human's; `collect`: how it is recorded, unless told otherwise with every pixel, for a replay."""

    robot_file: str = "sim_arm"
    world: str = ""
    folder: str = "runs"
    bundle: str = ""
    shadow: bool = False
    seed: int = 0
    clumsy: bool = False
    settings: RunSettings = field(default_factory=RunSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    task: TaskSettings = field(default_factory=TaskSettings)
    teleop: TeleopSettings = field(default_factory=TeleopSettings)
    collect: CollectSettings = field(default_factory=lambda: CollectSettings(codec="lossless"))

    @cached_property
    def robot(self) -> RobotSpec:
        """The robot of `robot_file`. Raises ConfigError."""
        return load_robot(self.robot_file)

    @property
    def arm_key(self) -> str:
        """What names the arm on this computer: no two arm_nodes may have the same one."""
        return f"{self.robot.driver}_{self.world or self.robot.name}"

    @property
    def instruction(self) -> str:
        """What the policy is told to do."""
        return self.task.instruction


def load(path: Path | str) -> Run:
    """The run of a run file. Raises ConfigError naming the file and the key."""
    if not str(path):
        raise ConfigError("config: found no run file, allowed the path of one (parameter `config`); `robot-stack run` writes it")
    return plain.read(Run, Path(path))


def save(run: Run, path: Path) -> None:
    """Write the run file of `run`, and new keys for its nodes beside it. Raises ConfigError on a bad name in run.allow."""
    plain.write(run, path)
    make_keys(path.parent, run.settings.allow)


def robot_key(name: str) -> str:
    """`name` as `load_robot` finds the same robot from any folder, and from a log: the path of a YAML file is made absolute."""
    return str(Path(name).resolve()) if Path(name).suffix in (".yaml", ".yml") else name


def arm(run: Run) -> Arm:
    """The arm, connected; in shadow one that can only be read.

    Raises ConfigError on an unknown driver or foreign packages, DriverError when it is not there.
    """
    check_names()
    return ShadowArm(_real_arm(run)) if run.shadow else _real_arm(run)


def _real_arm(run: Run) -> Arm:
    match run.robot.driver:
        case "sim":
            from drivers.shared_world import SharedArm

            return SharedArm(_world(run))
        case _:
            from drivers.arms import open_arm

            return open_arm(run.robot)


def camera(run: Run, name: str) -> Camera:
    """The camera called `name`, opened. Raises ConfigError when it has no device, DriverError when it is not there."""
    spec = run.robot.camera(name)
    if run.robot.driver == "sim" and spec.device.kind == "world":
        from drivers.shared_world import SharedCamera

        return SharedCamera(_world(run), name)
    from drivers.cameras import open_camera

    return open_camera(spec)


def teleoperator(run: Run, joints: Callable[[], JointState | None], commanded: Callable[[], Array | None]) -> Teleoperator:
    """The human's device; where none is named, a script that plays one on the simulated arm. `joints` and `commanded` give the
    newest state, and joint positions that were sent, once there are any.

    Raises DriverError when the device or its package is not there, ConfigError on settings that do not fit it.
    """
    if run.teleop.kind not in ("", "scripted"):
        from drivers.teleoperators import open_teleoperator

        return open_teleoperator(run.robot, run.teleop, joints, commanded, returns=bool(run.bundle))
    if run.robot.driver != "sim":
        raise _unknown(run.robot.driver)
    from drivers.scripted import ScriptedTeleoperator
    from drivers.shared_world import WorldDirector

    truth = WorldDirector(_world(run)).truth
    return ScriptedTeleoperator(run.robot, truth, lambda: _present(joints()), run.seed, run.clumsy)


def safety(run: Run) -> Safety:
    """The safety layer. Raises ConfigError or PolicyError on a barrier it cannot use."""
    from safety.layer import SafetyLayer

    return SafetyLayer(run.robot, run.safety)


def fallback(run: Run) -> FallbackController:
    """The controller that moves the arm when the policy may not."""
    from safety.fallback import BrakeAndRetreat

    return BrakeAndRetreat(run.robot, run.safety)


def monitor(run: Run) -> "Monitor":
    """The failure monitor. Raises PolicyError when its network is damaged."""
    from safety.monitor import Monitor

    return Monitor(run.monitor, run.robot)


def detector(run: Run) -> "Detector":
    """The hazard detector. Raises ConfigError on a camera it cannot use."""
    from safety.detector import Detector

    return Detector(run.robot, run.detector)


def require_signature(run: Run) -> None:
    """Raises PolicyError when there are trusted keys and none of them signed the run's bundle."""
    if run.bundle and run.settings.trusted_keys:
        from robot_stack.signature import verify

        verify(Path(run.bundle), run.settings.trusted_keys)


def policy(run: Run) -> Policy:
    """The policy of the run's bundle, on one thread. PolicyError on a missing, damaged or unsigned bundle, or other joints."""
    from policies.onnx_policy import OnnxPolicy

    if not run.bundle:
        raise PolicyError("bundle: found none, allowed the folder of an exported bundle; next: robot-stack export")
    require_signature(run)
    settings = run.settings
    names = run.robot.joint_names
    return OnnxPolicy(run.bundle, settings.candidates, joint_names=names, seams=settings.seams, engine=settings.engine)


def _world(run: Run) -> str:
    if not run.world:
        raise DriverError("world: found none, allowed the name of a running world process; `robot-stack run` starts one")
    return run.world


def _present(joints: JointState | None) -> JointState:
    if joints is None:
        raise DriverError("teleoperator: no joint state yet; is arm_node running?")
    return joints


def _unknown(driver: str) -> ConfigError:
    return ConfigError(f"robot.driver: found {driver!r}, allowed {', '.join(DRIVERS)}")
