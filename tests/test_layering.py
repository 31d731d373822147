"""Who may import whom (the drawing is in README.md), read from the source: an import inside a function counts too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("policies", "safety", "drivers")
CORE = {"types", "interfaces", "errors", "clock", "observe", "chunks", "control", "kinematics", "robot"}
CORE |= {"device", "camera_device"}
ALSO = ("config.schema", "config.teleop", "config.plain", "config.robot_file", "data", "size_limits")
FOR_PARTS = {f"robot_stack.{name}" for name in (*CORE, *ALSO)}
ROS_MESSAGES = {f"{name}_msgs" for name in "sensor std trajectory diagnostic geometry lifecycle action rosgraph".split()}
ROS = ROS_MESSAGES | {"rclpy", "launch", "launch_ros", "ament_index_python", "std_srvs", "builtin_interfaces", "rcl_interfaces"}
ROS_DEVICES = {"drivers/joy.py", "drivers/ros2_control.py", "drivers/ros_image.py", "drivers/ros_node.py"}
TORCH = {"torch", "onnx", "onnxscript"}
TORCH_FILES = {
    "policies/augment.py", "policies/bc.py", "policies/checkpoint.py", "policies/chunk_policy.py", "policies/denoiser.py",
    "policies/diffusion.py", "policies/encoder.py", "policies/export.py", "policies/features.py", "policies/flow.py",
    "policies/engines/torch_graphs.py", "policies/precision.py",
    "policies/flow_one_step.py", "policies/frames.py", "policies/inpaint.py", "policies/oppo.py", "policies/pose_regressor.py",
    "policies/sensitivity.py", "policies/distributed.py", "policies/held_out.py", "policies/loader.py", "policies/train.py",
    "policies/transformer.py",
    "policies/unet.py", "policies/vla.py",
    "policies/action_tokens.py", "policies/bc_rnn.py", "policies/carp.py", "policies/mixture.py", "policies/resnet.py",
    "policies/spatial_softmax.py", "policies/streaming.py", "policies/vision_tower.py", "policies/vit.py",
    "policies/critic.py", "policies/prdc.py", "policies/q_rank.py", "policies/riql.py", "policies/transitions.py",
    "safety/dynamics_model.py", "safety/neural_tube.py", "safety/taco.py", "safety/vocbf.py", "safety/monitor_training.py",
    "robot_stack/learn.py", "robot_stack/relabel/inverse_dynamics.py",
    "policies/adapters/foreign.py", "policies/adapters/lerobot_policy.py", "policies/adapters/operators.py",
    "policies/adapters/lerobot_around.py", "policies/adapters/robomimic_network.py", "policies/adapters/robomimic_policy.py",
    "policies/adapters/smolvla.py",
}  # fmt: skip
RUNTIME = ("arm_node", "camera_node", "fallback_node", "monitor_node", "policy_node", "recorder_node", "teleop_node")
TRAINING_ONLY = TORCH | {"pyarrow", "av", "scipy", "matplotlib", "cvxpy", "hydra"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module `path` imports, absolute; `from a import b` counts as a.b, since b may be a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def eager_imports(path: Path) -> Iterator[str]:
    """What importing `path` imports at once: nothing inside functions or `if TYPE_CHECKING`."""
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            waiting += node.body + node.orelse
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            waiting += node.body


def within(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("part", PARTS)
def test_policies_safety_and_drivers_never_import_each_other(part: str) -> None:
    others = set(PARTS) - {part}
    wrong = {relative(path): m for path in sources(part) for m in imports(path) if within(m, others)}
    assert not wrong


@pytest.mark.parametrize("part", PARTS)
def test_policies_safety_and_drivers_see_only_the_core(part: str) -> None:
    wrong = {
        relative(path): m
        for path in sources(part)
        for m in imports(path)
        if within(m, {"robot_stack"}) and not within(m, FOR_PARTS)
    }
    assert not wrong


def test_the_core_imports_no_shell_no_part_and_no_library_but_numpy() -> None:
    allowed = {f"robot_stack.{name}" for name in CORE} | {"numpy"}
    parts = set(PARTS) | {"robot_stack", "torch", "cv2", "yaml", "rosbags", "mcap", "onnxruntime", "hydra", "omegaconf"} | ROS
    files = [ROOT / "robot_stack" / f"{name}.py" for name in sorted(CORE)]
    wrong = {relative(path): m for path in files for m in imports(path) if within(m, parts) and not within(m, allowed)}
    assert not wrong


def test_data_and_config_import_neither_the_shell_nor_a_part() -> None:
    shell = {f"robot_stack.{name}" for name in ("nodes", "cli", "build", "replay", "supervisor", "demo", "doctor")} | set(PARTS)
    files = sources("robot_stack/data", "robot_stack/config")
    wrong = {relative(path): m for path in files for m in imports(path) if within(m, shell)}
    assert not wrong


def test_ros_appears_only_in_the_nodes_and_where_it_is_the_device() -> None:
    files = [p for p in sources("robot_stack", *PARTS) if not relative(p).startswith("robot_stack/nodes/")]
    files = [p for p in files if relative(p) not in ROS_DEVICES]
    wrong = {relative(path): m for path in files for m in imports(path) if within(m, ROS)}
    assert not wrong


def test_only_the_supervisor_imports_the_nodes() -> None:
    files = [p for p in sources("robot_stack", *PARTS) if not relative(p).startswith("robot_stack/nodes/")]
    found = {relative(path) for path in files for m in imports(path) if within(m, {"robot_stack.nodes"})}
    assert found == {"robot_stack/supervisor.py"}, "it asks the graph through robot_stack.nodes.operator"


def test_torch_appears_only_in_the_files_that_train_or_export() -> None:
    found = {relative(path) for path in sources("robot_stack", *PARTS) for m in imports(path) if within(m, TORCH)}
    assert found == TORCH_FILES


def source_of(module: str) -> Path | None:
    """The file of one of our modules; `robot_stack.types.Mode` is robot_stack/types.py."""
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        stem = ROOT.joinpath(*parts[:n])
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


@pytest.mark.parametrize("node", RUNTIME)
def test_no_node_needs_a_training_library_to_start(node: str) -> None:
    start = ROOT / "robot_stack" / "nodes" / f"{node}.py"
    seen: dict[Path, str] = {start: node}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        for module in eager_imports(path):
            assert not within(module, TRAINING_ONLY), f"{seen[path]} -> {relative(path)} -> {module}"
            found = source_of(module) if module.split(".")[0] in (*PARTS, "robot_stack") else None
            if found is not None and found not in seen:
                seen[found] = f"{seen[path]} -> {relative(path)}"
                waiting.append(found)


@pytest.mark.parametrize("node", RUNTIME)
def test_a_node_module_loads_no_training_library(node: str) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
    banned = sorted(TRAINING_ONLY)
    code = f"import sys, robot_stack.nodes.{node}; print([m for m in {banned} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_launch_is_not_a_package() -> None:
    assert not (ROOT / "launch" / "__init__.py").exists(), "an __init__.py in launch/ would hide ROS 2's own `launch`"
