"""`robot-stack doctor`: is this computer fit to run the robot? Each line says what was found and, if need be, the next step."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from robot_stack.config.commands import DoctorCommand
from robot_stack.discovery import MORE_BUFFER, require_buffer, require_known_network
from robot_stack.errors import PolicyError, RobotStackError
from robot_stack.names import check_names

DISK_MIN_GIB = 5.0
MANY = 5
DEV = Path("/dev")


class State(Enum):
    """How a check ended. WARN: works, but a part of robot_stack is missing or slow."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it ended, what was found, and what to do about it ("" = nothing)."""

    name: str
    state: State
    found: str
    next: str = ""


def examine(command: DoctorCommand) -> list[Check]:
    """Every check, in the order of the table. A check that breaks is a FAIL, not an exception."""
    engines = (gpu, tensorrt, onnx_engine, openvino)
    system = (ros, discovery, receive_buffer, cameras, arms, teleop, disk, realtime)
    looks: list[Callable[[], Check]] = [python, packages, own_names, *engines, *system]
    return [*(_guarded(look.__name__, look) for look in looks), _guarded("robot", lambda: robot(command.robot))]


def table(checks: list[Check]) -> str:
    """The checks as text."""
    width = max(len(check.name) for check in checks)
    return "\n".join(_lines(checks, width))


def exit_code(checks: list[Check]) -> int:
    """0 unless a check failed."""
    return int(any(check.state is State.FAIL for check in checks))


def python() -> Check:
    """The interpreter."""
    fit = sys.version_info >= (3, 11)
    advice = "" if fit else "use 3.11 or newer"
    return Check("python", State.OK if fit else State.FAIL, f"{platform.python_version()} in {sys.prefix}", advice)


def packages() -> Check:
    """Do the installed packages satisfy what robot_stack asks for at run time?"""
    wanted = [r for r in importlib.metadata.requires("robot_stack") or [] if "extra ==" not in r]
    names = [re.split(r"[<>=!~ ;\[]", requirement, maxsplit=1)[0] for requirement in wanted]
    missing = [name for name in names if not _version(name)]
    if missing:
        return Check("packages", State.FAIL, f"missing: {', '.join(missing)}", "make setup")
    some = ", ".join(f"{name} {_version(name)}" for name in names[:MANY])
    return Check("packages", State.OK, f"{some}, and {len(names) - MANY} more")


def own_names() -> Check:
    """Are `policies`, `safety` and `drivers` ours?"""
    check_names()
    return Check("names", State.OK, "policies, safety and drivers are robot_stack's")


def robot(name: str) -> Check:
    """The robot's file."""
    from robot_stack.config.robot_file import load_robot

    spec = load_robot(name)
    seen = ", ".join(f"{c.name} {c.width}x{c.height}" for c in spec.cameras)
    moves = f"{len(spec.joints)} joints at {spec.control_rate_hz:.0f} Hz"
    return Check("robot", State.OK, f"{spec.name}: {moves}, driver {spec.driver}, {seen}")


def onnx_engine() -> Check:
    """ONNX Runtime and its providers. `onnxruntime` and `onnxruntime-gpu` share a folder: only one may be installed."""
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if len(both) == 2:
        return Check("onnxruntime", State.FAIL, "onnxruntime and onnxruntime-gpu overwrite each other", "keep one of them")
    if not both:
        return Check("onnxruntime", State.FAIL, "not installed", "pip install 'robot_stack[cpu]' or 'robot_stack[gpu]'")
    import onnxruntime

    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    return Check("onnxruntime", State.OK, f"{both[0]} {onnxruntime.__version__}: {providers}")


def gpu() -> Check:
    """NVIDIA GPUs, their driver and the CUDA it brings."""
    tool = shutil.which("nvidia-smi")
    asked = "name,driver_version,compute_cap,memory.total"
    answer = _run([tool, f"--query-gpu={asked}", "--format=csv,noheader"]) if tool else ""
    if not answer:
        why = "nvidia-smi gives no answer; is the driver loaded?" if tool else ""
        return Check("gpu", State.WARN, f"none; policies run on the processor{f' ({why})' if why else ''}")
    cuda = re.search(r"CUDA Version: *([0-9.]+)", _run([str(tool)]))
    return Check("gpu", State.OK, f"{'; '.join(answer.splitlines())} ({asked}), CUDA {cuda[1] if cuda else 'unknown'}")


def tensorrt() -> Check:
    """TensorRT, and a GPU it can be used on: what `run.engine=auto` takes first."""
    from policies.engines.cuda import gpu as device
    from policies.engines.tensor_rt import library

    installed = ", ".join(f"{name} {_version(name)}" for name in ("tensorrt", "tensorrt-rtx") if _version(name))
    if not shutil.which("nvidia-smi") and not installed:
        return Check("tensorrt", State.OK, "not installed; it needs an NVIDIA GPU")
    try:
        trt, (name, (major, minor)) = library(), device()
    except PolicyError as error:
        found, _, advice = str(error).partition("; next: ")
        return Check("tensorrt", State.WARN, f"{installed or 'not installed'}, can't be used: {found}", advice)
    return Check("tensorrt", State.OK, f"{trt.__name__} {trt.__version__} on {name}, compute capability {major}.{minor}")


def openvino() -> Check:
    """OpenVINO: the fastest engine on x86 processors."""
    if version := _version("openvino"):
        return Check("openvino", State.OK, version)
    if platform.machine() not in ("x86_64", "AMD64"):
        return Check("openvino", State.OK, "not installed, and of little use on this processor")
    return Check("openvino", State.WARN, "not installed", "pip install 'robot_stack[openvino]': the fastest without a GPU")


def ros() -> Check:
    """ROS 2: can rclpy be loaded, and from where?"""
    if importlib.util.find_spec("rclpy") is None:
        return Check("ros 2", State.FAIL, "rclpy not found", "source a ROS 2 setup file, or: make setup")
    code = "import rclpy, sys; print(rclpy.__file__); import rclpy._rclpy_pybind11"
    where = _run([sys.executable, "-c", code])
    if not where:
        return Check("ros 2", State.FAIL, "rclpy is there but does not load", "use the Python it was built for")
    wheels = [name for name in ("jazzy", "kilted") if _version(f"ros-{name}-rclpy")]
    name = f"{wheels[0]} wheels {_version('ros-rclpy')}" if wheels else f"system {os.environ.get('ROS_DISTRO', '(unknown)')}"
    return Check("ros 2", State.OK, f"{name}, middleware {os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp (default)')}")


def discovery() -> Check:
    """Who could see the graph of a node started by hand; `robot-stack run` limits its own."""
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "not set")
    try:
        require_known_network(os.environ)
    except RobotStackError:
        advice = "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST before starting nodes by hand; robot-stack run does it itself"
        return Check("discovery", State.WARN, f"ROS_AUTOMATIC_DISCOVERY_RANGE {reach}", advice)
    return Check("discovery", State.OK, f"ROS_AUTOMATIC_DISCOVERY_RANGE {reach}")


def receive_buffer() -> Check:
    """Room for pictures on their way between processes: two of 640x480."""
    try:
        require_buffer(3 * 640 * 480)
    except RobotStackError as error:
        return Check("receive buffer", State.WARN, str(error).partition("; next")[0], MORE_BUFFER)
    return Check("receive buffer", State.OK, "holds two pictures of 640x480")


def cameras() -> Check:
    """Video devices of this computer, and whether this user may open them; the simulated robot needs none."""
    devices = sorted(str(path) for path in DEV.glob("video*"))
    return _openable("cameras", devices, "video", "no /dev/video* (the simulated robot needs none)")


def arms() -> Check:
    """Serial ports and CAN buses that arms hang on, and whether this user may open them; the simulated robot needs none."""
    ports = sorted(str(path) for kind in ("ttyACM*", "ttyUSB*") for path in DEV.glob(kind))
    buses = sorted(path.name for path in Path("/sys/class/net").glob("can*"))
    none = "no serial port of an arm, no CAN bus (the simulated robot needs none)"
    return _openable("arms", ports, "dialout", ", ".join(buses) or none, buses)


def _openable(name: str, devices: Sequence[str], group: str, none: str, more: Sequence[str] = ()) -> Check:
    """A line about `devices`, which people of `group` may open."""
    closed = [path for path in devices if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        return Check(name, State.WARN, f"may not be opened: {', '.join(closed)}", f"add this user to the group `{group}`")
    return Check(name, State.OK, ", ".join([*devices, *more]) if devices else none)


def teleop() -> Check:
    """Gamepads, keyboards, pedals and SpaceMice, and whether this user may read them; the simulated robot needs none."""
    from drivers.spacemouse import space_mice

    inputs = [str(path) for end in ("joystick", "kbd") for path in sorted(Path("/dev/input/by-id").glob(f"*-event-{end}"))]
    found = [*inputs, *space_mice()]
    closed = [path for path in found if not os.access(path, os.R_OK)]
    if closed:
        advice = 'add this user to the group `input`; for a SpaceMouse, a udev rule with TAG+="uaccess"'
        return Check("teleop", State.WARN, f"may not be read: {', '.join(closed)}", advice)
    return Check("teleop", State.OK, ", ".join(found) or "no gamepad, keyboard or SpaceMouse (the simulated robot needs none)")


def disk() -> Check:
    """Room for logs here."""
    free = shutil.disk_usage(".").free / 2**30
    state = State.OK if free >= DISK_MIN_GIB else State.WARN
    return Check("disk", state, f"{free:.1f} GiB free here", "" if state is State.OK else "run.log_dir=... on a larger disk")


def realtime() -> Check:
    """May this user ask for SCHED_FIFO?"""
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if os.geteuid() == 0 or limit != 0:
        return Check("real time", State.OK, "SCHED_FIFO allowed" + ("" if os.geteuid() == 0 else f" up to priority {limit}"))
    advice = "add `USER - rtprio 50` to /etc/security/limits.d/robot_stack.conf; without it the arm loop is less punctual"
    return Check("real time", State.WARN, "SCHED_FIFO not allowed", advice)


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except RobotStackError as error:
        return Check(name, State.FAIL, str(error))
    except Exception as error:
        return Check(name, State.FAIL, f"{type(error).__name__}: {error}")


def _lines(checks: list[Check], width: int) -> Iterator[str]:
    for check in checks:
        yield f"{check.name:<{width}}  {check.state.value:<4}  {check.found}"
        if check.next:
            yield f"{'':<{width}}        next: {check.next}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _run(command: list[str]) -> str:
    """What `command` prints, or "" when it fails or takes longer than 20 s."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
