"""From a command to what a starter needs: the run file, the description of the graph, the environment of its processes."""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from robot_stack import build
from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.discovery import environment
from robot_stack.graph import GraphDescription, Process, describe

RUN_FILE = "run.yaml"


@dataclass(frozen=True)
class Bringup:
    """What is to be started: `run` lies in `directory` as the run file; `environment` is for every process of `description`."""

    run: build.Run
    directory: Path
    domain: int
    description: GraphDescription
    environment: Mapping[str, str]


def prepare(command: RunCommand | RecordCommand, domain: int, directory: Path | None = None) -> Bringup:
    """Write the run file and the DDS profile of `command` to `directory` (None: a new one in run.log_dir).

    Raises ConfigError on a bad setting, and when discovery would leave this computer unasked.
    """
    directory = (directory or _new_directory(Path(command.run.log_dir))).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    added = environment(os.environ, directory, domain, command.run.network)
    run = resolve(command, directory)
    build.save(run, directory / RUN_FILE)
    added["ROS_LOG_DIR"] = str(directory / "ros")
    return Bringup(run, directory, domain, describe_run(run, directory / RUN_FILE), added)


def resolve(command: RunCommand | RecordCommand, folder: Path) -> build.Run:
    """The run that `command` asks for, its files in `folder`; a simulated world gets a name of its own."""
    run = build.Run(
        robot_file=build.robot_key(command.robot),
        folder=str(folder),
        settings=command.run,
        safety=command.safety,
        monitor=command.monitor,
        detector=command.detector,
        task=command.task,
    )
    if run.robot.driver == "sim":
        run = replace(run, world=f"robot_stack_{uuid.uuid4().hex[:8]}")
    if isinstance(command, RecordCommand):
        return replace(run, clumsy=command.clumsy)
    return replace(run, bundle=str(Path(command.bundle).resolve()), shadow=command.shadow)


def describe_run(run: build.Run, path: Path) -> GraphDescription:
    """The graph of `run`, whose nodes read the run file at `path`: with a policy if there is a bundle, else with a human."""
    world = None
    if run.world:
        task = json.dumps(asdict(run.task))
        arguments = ("--name", run.world, "--robot", run.robot_file, "--task", task)
        world = Process("world", "drivers.world_process", arguments=arguments)
    cameras = [camera.name for camera in run.robot.cameras]
    return describe(str(path), cameras, world, human=not run.bundle)


def _new_directory(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("graph-%Y%m%d-%H%M%S-"), dir=root))
