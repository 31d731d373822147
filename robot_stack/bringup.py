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
from robot_stack.config.schema import RunSettings
from robot_stack.config.teleop import KINDS
from robot_stack.discovery import environment, require_buffer
from robot_stack.errors import ConfigError
from robot_stack.graph import GraphDescription, Process, Respawn, describe
from robot_stack.secure.use import in_enclaves, require_security, secured_environment

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

    Raises ConfigError on a bad setting, when discovery would leave this computer unasked or its sockets cannot hold a picture;
    PolicyError on a bundle that nobody trusted has signed.
    """
    directory = (directory or _new_directory(Path(command.run.log_dir))).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    added = environment(os.environ, directory, domain, command.run.network)
    run = resolve(command, directory)
    require_buffer(max((3 * camera.width * camera.height for camera in run.robot.cameras), default=0))
    run = replace(run, settings=replace(run.settings, domain=domain))
    build.require_signature(run)
    added |= _secured(run.settings, added)
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
        teleop=command.teleop,
    )
    _check_human(command, run)
    if run.robot.driver == "sim":
        run = replace(run, world=f"robot_stack_{uuid.uuid4().hex[:8]}")
    if command.bundle:
        run = replace(run, bundle=str(Path(command.bundle).resolve()))
    if isinstance(command, RecordCommand):
        return replace(run, clumsy=command.clumsy, collect=command.collect)
    return replace(run, shadow=command.shadow)


def _check_human(command: RunCommand | RecordCommand, run: build.Run) -> None:
    """Raises ConfigError when nobody is there to record, or who may intervene could never let go."""
    kind, real = run.teleop.kind, ", ".join(kind for kind in KINDS if kind not in ("", "scripted"))
    if not command.bundle and kind in ("", "scripted") and run.robot.driver != "sim":
        raise ConfigError(
            f"teleop: found no human, allowed teleop={real.replace(', ', '|')}: a script plays one on the simulated arm only"
        )
    if command.bundle and kind == "scripted":
        raise ConfigError(f"teleop.kind: found 'scripted', allowed beside a policy {real}: a script has no clutch to let go")
    if command.bundle and kind == "leader" and not (run.teleop.device and run.teleop.clutch):
        raise ConfigError(
            "teleop.device: found none, allowed the path of a pedal or keyboard: beside a policy a leader arm needs a clutch"
        )


def describe_run(run: build.Run, path: Path) -> GraphDescription:
    """The graph of `run`, whose nodes read the run file at `path`: with a policy if there is a bundle, with a human at a
    device, or without a policy."""
    world = None
    if run.world:
        task = json.dumps(asdict(run.task))
        arguments = ("--name", run.world, "--robot", run.robot_file, "--task", task)
        world = Process("world", "drivers.world_process", arguments=arguments)
    cameras = [camera.name for camera in run.robot.cameras]
    policy, human = bool(run.bundle), bool(run.teleop.kind) or not run.bundle
    graph = describe(str(path), cameras, world, human, run.settings.namespace, _respawn(run.settings), policy)
    return in_enclaves(graph, run.settings.namespace) if run.settings.keystore else graph


def _secured(settings: RunSettings, added: Mapping[str, str]) -> dict[str, str]:
    """What DDS security needs beside `added`. Raises ConfigError when it is asked for and this ROS 2 has none."""
    if not settings.keystore:
        return {}
    keystore = Path(settings.keystore).resolve()
    require_security(keystore, added, settings.namespace)
    return secured_environment(str(keystore))


def _respawn(settings: RunSettings) -> dict[str, Respawn]:
    """How each kind of node in `run.respawn` is started again."""
    named = (entry.partition(":") for entry in settings.respawn)
    waits = (settings.respawn_wait_s, settings.respawn_most_s, settings.respawn_well_s)
    return {kind: Respawn(int(tries or settings.respawn_tries), *waits) for kind, _, tries in named}


def _new_directory(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("graph-%Y%m%d-%H%M%S-"), dir=root))
