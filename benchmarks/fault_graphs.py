"""Graphs that faults are put into: one as it ships, one whose date can be stepped, one whose network can be cut.

The policy has the shape of a shipped one and random weights that make the arm swing widely: an arm at rest shows no fault.
"""

import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from robot_stack.config.commands import RunCommand
from robot_stack.config.load import load
from robot_stack.faults.plant import Plant
from robot_stack.faults.table import Means
from robot_stack.supervisor import Graph

SHIM = Path(__file__).resolve().parent.parent / "tests" / "faults" / "clock_step.c"
REPAIRED_S = 4.0
"""How long DDS may take to hand over what a cut network has held back: its heartbeat is one of 3 s."""
SWING = 0.25
"""rad: how far the chunks of the policy go, about."""


def swinging_bundle(out: Path) -> Path:
    """The bundle of a policy that moves the arm, exported to `out` unless it is there."""
    if not out.is_dir():
        from tests.graph_bundle import export

        export(out, SWING)
    return out


@contextmanager
def plain_graph(bundle: Path, folder: Path) -> Iterator[Plant]:
    """The graph with all settings as they ship; nothing is started again but by who measures."""
    command = load(RunCommand, [f"bundle={bundle}", "run.respawn=[]", "run.start_s=120"])
    with Graph.start(command, Path(tempfile.mkdtemp(prefix="graph-", dir=folder))) as graph, closing(Plant.of(graph)) as plant:
        yield plant


@contextmanager
def graph_with_a_date(bundle: Path, folder: Path) -> Iterator[Plant]:
    """The same; the date of its processes can be stepped. Raises FileNotFoundError without a C compiler."""
    file, library = folder / "clock_step", folder / "clock_step.so"
    file.write_bytes(bytes(8))
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True)
    added = {"LD_PRELOAD": str(library), "CLOCK_STEP_FILE": str(file)}

    def step(by_s: float) -> None:
        with file.open("r+b") as stream:
            stream.write(struct.pack("<q", round(by_s * 1e9)))

    os.environ.update(added)
    try:
        with plain_graph(bundle, folder) as plant:
            plant.hands = {Means.CLOCK: step}
            yield plant
    finally:
        for name in added:
            os.environ.pop(name)


@contextmanager
def graph_on_an_island(bundle: Path, folder: Path) -> Iterator[Plant]:
    """The same in the network namespace of this process: it must be its own."""
    network(up=True)

    def cut(for_s: float) -> None:
        network(up=for_s == 0.0)
        time.sleep(for_s or REPAIRED_S)
        network(up=True)

    with plain_graph(bundle, folder) as plant:
        plant.hands = {Means.PARTITION: cut}
        yield plant


def network(up: bool) -> None:
    """The loopback of this network namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up" if up else "down"], check=True)
