"""For all tests: property tests judge values, never the speed of the machine they run on.

And the real graph: a small policy with random weights, exported once, kept by the hash of its code, and a starter.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from robot_stack import learn
from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.load import load

if TYPE_CHECKING:
    from robot_stack.supervisor import Graph

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell starts what runs in its background with SIGINT ignored, and children inherit that: Ctrl-C could not be tested."""

if find_spec("hypothesis"):  # the environment of the graph's tests on another ROS has none
    from hypothesis import settings

    settings.register_profile("values", deadline=None)
    settings.load_profile("values")

ROOT = Path(__file__).resolve().parent.parent
EXPORTER = ROOT / "tests" / "graph_bundle.py"
PATIENT = (
    "run.start_s=120",
    "safety.joints_stale_s=0.2",
    "safety.joints_lost_s=0.4",
    "safety.policy_silent_s=3",
    "safety.monitor_silent_s=3",
    "safety.hazards_stale_s=3",
    "safety.fallback_silent_s=2",
    "monitor.frame_age_s=2",
)


@pytest.fixture(autouse=True)
def scheduled_as_before():
    """A test that leaves the process real-time makes every later one starve what runs beside it."""
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before, "this test has changed how the process is scheduled"


@pytest.fixture(scope="session", autouse=True)
def pictures_are_kept_elsewhere(tmp_path_factory: pytest.TempPathFactory):
    """Not among those of whoever runs the tests."""
    learn.PICTURES = tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def bundle(pytestconfig: pytest.Config) -> Path:
    """The folder of an exported bundle for sim_arm; exported by another environment of this tree where this one has no torch."""
    kept = Path(str(pytestconfig.cache.mkdir("graph_bundle"))) / _code_hash()
    if not kept.is_dir():
        env = {
            name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
        }
        made = kept.with_name(f"{kept.name}.{os.getpid()}")
        subprocess.run(
            [_python_with_torch(), str(EXPORTER), str(made)],
            env={**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=True,
        )
        try:
            made.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
            shutil.rmtree(made)  # another run of the tests, begun at the same time, was first
    return kept


@pytest.fixture(scope="session")
def start_graph(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "Graph"]:
    """Starts the graph with the test policy; arguments are overrides as `robot-stack run` takes them.

    What no test measures gets seconds of patience, because processes of a busy test machine may be late by that much.
    `shipped`: all settings as they ship, but for the time to start.
    """

    def start(*overrides: str, human: bool = False, shipped: bool = False) -> "Graph":
        from robot_stack.supervisor import Graph

        asked = [*(PATIENT[:1] if shipped else PATIENT), *overrides]
        command = load(RecordCommand, asked) if human else load(RunCommand, [f"bundle={bundle}", *asked])
        return Graph.start(command, tmp_path_factory.mktemp("graph"))

    return start


def _code_hash() -> str:
    digest = hashlib.sha256(EXPORTER.read_bytes())
    for path in sorted((ROOT / "policies").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _python_with_torch() -> str:
    other = ROOT / ".venv" / "bin" / "python"
    if find_spec("torch"):
        return sys.executable
    if not other.is_file():
        pytest.skip("the test bundle is exported with torch, which is in no environment here; next: make setup")
    return str(other)
