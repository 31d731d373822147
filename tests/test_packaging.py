"""What is shipped: names that are ours, versions that agree, exact pins, the files an ament package needs, no foreign hosts."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import robot_stack
from robot_stack import names
from robot_stack.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PINS = ("constraints.txt", "constraints-jazzy.txt", "constraints-kilted.txt")
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!]+")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=!~ ;\[]", line, maxsplit=1)[0]) for line in requirements}


def pinned(*files: str) -> dict[str, str]:
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, _, version in pairs}


def test_the_names_policies_safety_and_drivers_are_ours() -> None:
    names.check_names()


def test_a_foreign_package_called_safety_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    foreign = types.ModuleType("safety")
    foreign.__file__ = str(tmp_path / "safety" / "__init__.py")
    monkeypatch.setitem(sys.modules, "safety", foreign)
    with pytest.raises(ConfigError, match=r"package safety: found another project's .*pip uninstall safety"):
        names.check_names()


def test_a_foreign_init_grafted_onto_our_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    grafted = types.ModuleType("safety")
    grafted.__file__ = str(ROOT / "safety" / "__init__.py")
    monkeypatch.setitem(sys.modules, "safety", grafted)
    with pytest.raises(ConfigError, match="package safety"):
        names.check_names()


def test_the_version_is_the_same_everywhere(project: dict[str, Any]) -> None:
    xml = ElementTree.parse(ROOT / "package.xml").getroot()
    assert project["project"]["version"] == robot_stack.__version__ == xml.findtext("version")
    assert f"## {robot_stack.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_installed_package_is_this_tree() -> None:
    assert Path(str(robot_stack.__file__)).resolve().parent.parent == ROOT
    assert importlib.metadata.version("robot_stack") == robot_stack.__version__


def test_torch_and_ros_are_no_run_time_dependencies(project: dict[str, Any]) -> None:
    needed = requirement_names(project["project"]["dependencies"])
    assert not needed & {"torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "mujoco", "pyarrow"}
    assert not [name for name in needed if name.startswith("ros-")]


def test_every_dependency_of_the_default_setup_is_pinned(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    wanted = [line for extra in ("cpu", "train", "sim", "dev", "ros") for line in extras[extra]]
    exact = pinned("constraints.txt", "constraints-jazzy.txt")
    assert not requirement_names(project["project"]["dependencies"] + wanted) - set(exact)
    assert not requirement_names(extras["ros-kilted"]) - set(pinned("constraints-kilted.txt"))


@pytest.mark.parametrize("file", PINS)
def test_constraints_are_exact_versions_and_nothing_else(file: str) -> None:
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert not [line for line in lines if not PIN.fullmatch(line)]


def test_what_is_installed_is_what_is_pinned() -> None:
    try:
        importlib.metadata.version("ros-rclpy")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("with a system ROS 2 the versions are the resolver's (constraints-system-ros.txt)")
    exact = pinned("constraints.txt")
    wrong = {}
    for name, version in exact.items():
        try:
            found = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        if found != version:
            wrong[name] = (found, version)
    assert not wrong, "found, pinned: run `make setup`"


def test_jazzy_and_kilted_are_pinned_apart() -> None:
    jazzy, kilted = pinned("constraints-jazzy.txt"), pinned("constraints-kilted.txt")
    assert jazzy["ros-rclpy"] != kilted["ros-rclpy"]
    assert not [name for name in pinned("constraints.txt") if name.startswith("ros-")]


def test_the_tree_is_an_ament_python_package(project: dict[str, Any]) -> None:
    xml = ElementTree.parse(ROOT / "package.xml").getroot()
    assert xml.findtext("name") == project["project"]["name"] == "robot_stack"
    assert xml.findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / "robot_stack").is_file()
    shared = project["tool"]["setuptools"]["data-files"]
    assert shared["share/robot_stack"] == ["package.xml"]
    assert "$base/lib/robot_stack" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


def test_what_needs_reading_at_run_time_is_shipped(project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    files = [path for package in ("robot_stack", *names.NAMES) for path in (ROOT / package).rglob("*.*")]
    kinds = {path.suffix for path in files}
    assert {f"**/*{kind}" for kind in kinds - {".py", ".pyc", ".typed"}} <= set(patterns)


def test_a_folder_of_links_as_colcon_makes_it_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setup.py is run with this environment's setuptools")
    for name in ("setup.py", "setup.cfg", "resource", "launch", "package.xml", "robot_stack", *names.NAMES):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "setup.py", "--name", "--version"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.split()[-2:] == ["robot_stack", robot_stack.__version__]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_index() -> None:
    index = re.compile(rb"--(extra-)?index-url|--find-links|https?://\S+/simple\b")
    files = tracked()
    if not files:
        pytest.skip("not a git checkout")
    here = Path(__file__).resolve()
    assert not [path for path in files if path != here and index.search(path.read_bytes())]


def test_the_continuous_integration_runs_what_a_user_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.strip().endswith("exec make test")
