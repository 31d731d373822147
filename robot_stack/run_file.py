"""What every process of one run reads: one YAML file, written by the supervisor, kept beside the logs."""

from dataclasses import dataclass, field
from pathlib import Path

from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.plain import read, write
from robot_stack.config.schema import DetectorSettings, MonitorSettings, RunSettings, SafetySettings, TaskSettings

HUMAN, CLUMSY_HUMAN = "scripted", "scripted_clumsy"
"""The teleoperators of the simulated robot."""


@dataclass(frozen=True)
class RunFile:
    """A resolved run. `bundle` "" = no policy; `teleoperator` "" = no human; `world` is the simulated world's name in shared memory."""

    robot: str = "sim_arm"
    bundle: str = ""
    teleoperator: str = ""
    world: str = ""
    run: RunSettings = field(default_factory=RunSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    task: TaskSettings = field(default_factory=TaskSettings)


def resolve(command: RunCommand | RecordCommand, world: str) -> RunFile:
    """The run that `command` asks for, in the simulated `world`."""
    human = ""
    if isinstance(command, RecordCommand):
        human = CLUMSY_HUMAN if command.clumsy else HUMAN
    bundle = str(Path(command.bundle).resolve()) if isinstance(command, RunCommand) else ""
    return RunFile(
        command.robot, bundle, human, world, command.run, command.safety, command.monitor, command.detector, command.task
    )


def write_run_file(run: RunFile, path: Path) -> None:
    """Write `run` to `path`."""
    write(run, path)


def read_run_file(path: str) -> RunFile:
    """The run of the file at `path`. Raises ConfigError naming the key, what was found, what is allowed."""
    return read(RunFile, Path(path))
