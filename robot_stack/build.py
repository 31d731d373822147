"""Configuration -> objects. One match for each choice, imports inside the branches: a process loads only what it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_stack.config.schema import MonitorSettings, RunSettings, SafetySettings
from robot_stack.errors import ConfigError, DriverError, PolicyError
from robot_stack.interfaces import Arm, Camera, FallbackController, Policy, Safety, Teleoperator
from robot_stack.names import check_names
from robot_stack.robot import RobotSpec
from robot_stack.run_file import CLUMSY_HUMAN, HUMAN, RunFile, read_run_file
from robot_stack.types import JointState

if TYPE_CHECKING:
    from safety.detector import Detector
    from safety.monitor import Monitor

DRIVERS = ("sim",)


@dataclass(frozen=True)
class Run:
    """What a node knows of its run: the run file, and the robot it names."""

    file: RunFile
    robot: RobotSpec

    @property
    def settings(self) -> RunSettings:
        """Rates, priorities, network of the graph."""
        return self.file.run

    @property
    def safety(self) -> SafetySettings:
        """Filter and mode machine."""
        return self.file.safety

    @property
    def monitor(self) -> MonitorSettings:
        """The failure monitor."""
        return self.file.monitor

    @property
    def arm_key(self) -> str:
        """What names the arm on this computer: no two arm_nodes may have the same one."""
        return f"{self.robot.driver}_{self.file.world or self.robot.name}"

    @property
    def instruction(self) -> str:
        """What the policy is told to do."""
        return self.file.task.instruction


def load(path: str) -> Run:
    """The run of the run file at `path`. Raises ConfigError naming the file and the key."""
    if not path:
        raise ConfigError("config: found no run file, allowed the path of one (parameter `config`); `robot-stack run` writes it")
    file = read_run_file(path)
    return Run(file, load_robot(file.robot))


def load_robot(name: str) -> RobotSpec:
    """The robot called `name` (`config/robot/<name>.yaml`) or described by the YAML file at path `name`. Raises ConfigError."""
    from drivers.robot_file import read_robot

    return read_robot(name)


def arm(run: Run) -> Arm:
    """The arm, connected. Raises ConfigError on an unknown driver or foreign packages, DriverError when it is not there."""
    check_names()
    match run.robot.driver:
        case "sim":
            from drivers.shared_world import SharedArm

            return SharedArm(_world(run))
        case other:
            raise _unknown("robot.driver", other, DRIVERS)


def camera(run: Run, name: str) -> Camera:
    """The camera called `name`, opened. Raises ConfigError on an unknown driver, DriverError when it is not there."""
    match run.robot.driver:
        case "sim":
            from drivers.shared_world import SharedCamera

            return SharedCamera(_world(run), name)
        case other:
            raise _unknown("robot.driver", other, DRIVERS)


def teleoperator(run: Run, joints: Callable[[], JointState | None]) -> Teleoperator:
    """The human's device; on the simulated arm a script that plays one. `joints` gives the newest state once there is one."""
    match run.file.teleoperator:
        case "scripted" | "scripted_clumsy" as kind:
            from drivers.scripted import ScriptedTeleoperator
            from drivers.shared_world import WorldDirector

            truth = WorldDirector(_world(run)).truth
            return ScriptedTeleoperator(run.robot, truth, lambda: _present(joints()), 0, kind == CLUMSY_HUMAN)
        case other:
            raise _unknown("teleoperator", other, (HUMAN, CLUMSY_HUMAN))


def safety(run: Run) -> Safety:
    """The safety layer. Raises ConfigError or PolicyError on a barrier it cannot use."""
    from safety.layer import SafetyLayer

    return SafetyLayer(run.robot, run.safety)


def fallback(run: Run) -> FallbackController:
    """The controller that moves the arm when the policy may not."""
    from safety.fallback import FallbackController as Retreat

    return Retreat(run.robot, run.safety)


def monitor(run: Run) -> "Monitor":
    """The failure monitor. Raises PolicyError when its network is damaged."""
    from safety.monitor import Monitor

    return Monitor(run.monitor, run.robot)


def detector(run: Run) -> "Detector":
    """The hazard detector. Raises ConfigError on a camera it cannot use."""
    from safety.detector import Detector

    return Detector(run.robot, run.file.detector)


def policy(run: Run) -> Policy:
    """The policy of the run's bundle, on one thread. Raises PolicyError on a missing or damaged bundle or other joints."""
    from policies.onnx_policy import OnnxPolicy

    if not run.file.bundle:
        raise PolicyError("bundle: found none, allowed the folder of an exported bundle; next: robot-stack export")
    return OnnxPolicy(run.file.bundle, candidates=run.settings.candidates, joint_names=run.robot.joint_names)


def _world(run: Run) -> str:
    if not run.file.world:
        raise DriverError("world: found none, allowed the name of a running world process; `robot-stack run` starts one")
    return run.file.world


def _present(joints: JointState | None) -> JointState:
    if joints is None:
        raise DriverError("teleoperator: no joint state yet; is arm_node running?")
    return joints


def _unknown(key: str, found: str, allowed: tuple[str, ...]) -> ConfigError:
    return ConfigError(f"{key}: found {found!r}, allowed {', '.join(allowed)}")
