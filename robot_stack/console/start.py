"""`robot-stack console`, and run.console=true: the page's process beside a running graph, and its address, said once."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from robot_stack import build
from robot_stack.bringup import RUN_FILE
from robot_stack.config import plain
from robot_stack.config.console import ConsoleCommand
from robot_stack.discovery import environment
from robot_stack.errors import ConfigError, RobotStackError
from robot_stack.graph import Process
from robot_stack.processes import ProcessGroup
from robot_stack.secure.use import secured_environment

SETTINGS, ADDRESS = "console.yaml", "address"
NAME = "console"
NICE = 5
"""The page gives way to the robot, as the policy does."""
START_S = 60.0
POLL_S = 0.05


def main(command: ConsoleCommand) -> int:
    """The command: serves until Ctrl-C. The graph goes on without it."""
    with console(graph_folder(Path(command.graph)), command) as (url, processes), suppress(KeyboardInterrupt):
        print(f"console: {url}", flush=True)
        while True:
            processes.require_alive()
            time.sleep(POLL_S)
    print("console closed; the robot runs on", flush=True)
    return 0


@contextmanager
def console(folder: Path, command: ConsoleCommand) -> Iterator[tuple[str, ProcessGroup]]:
    """The console of the graph in `folder` for as long as the block runs: its address, with the token, and its process.

    Raises ModuleNotFoundError without its library, ConfigError on a folder of no graph, RobotStackError when it does not come up.
    """
    require_library()
    run = build.load(folder / RUN_FILE)
    if run.settings.domain < 0:
        raise ConfigError(f"{folder / RUN_FILE}: found no ROS domain, allowed the run file of a graph that was started")
    with tempfile.TemporaryDirectory(prefix="robot_stack_console_") as name:
        private = Path(name)  # nobody else may look into it: the address holds the token
        plain.write(replace(command, graph=str((folder / RUN_FILE).resolve())), private / SETTINGS)
        added = environment(os.environ, private, run.settings.domain, run.settings.network)
        added |= secured_environment(str(Path(run.settings.keystore).resolve())) if run.settings.keystore else {}
        processes = ProcessGroup({**os.environ, **added}, private)
        processes.start(Process(NAME, "robot_stack.nodes.console_node", arguments=(name,), nice=NICE))
        try:
            yield _address(processes, private / ADDRESS), processes
        finally:
            processes.stop([NAME])


@contextmanager
def console_if(wanted: bool, folder: Path) -> Iterator[None]:
    """The console beside a graph, if it is `wanted`."""
    if not wanted:
        yield
        return
    with console(folder, ConsoleCommand()) as (url, _):
        print(f"console: {url}", flush=True)
        yield


def require_library() -> None:
    """Raises ModuleNotFoundError when what serves the page is not installed."""
    if find_spec("websockets") is None:
        raise ModuleNotFoundError("the console needs websockets", name="websockets")


def graph_folder(path: Path) -> Path:
    """`path` when it is the folder of a graph, else the newest graph in it. Raises ConfigError when there is none."""
    if (path / RUN_FILE).is_file():
        return path
    found = sorted(path.glob(f"*/{RUN_FILE}"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise ConfigError(f"graph: found no {RUN_FILE} in {path}, allowed the folder of a running graph; next: robot-stack run")
    return found[-1].parent


def _address(processes: ProcessGroup, file: Path) -> str:
    deadline = time.monotonic() + START_S
    while not (file.is_file() and (text := file.read_text(encoding="utf-8")).endswith("\n")):
        processes.require_alive()
        if time.monotonic() > deadline:
            raise RobotStackError(f"console: not served within {START_S:.0f} s; it said:\n{processes.tail(NAME)}")
        time.sleep(POLL_S)
    return text.strip()
