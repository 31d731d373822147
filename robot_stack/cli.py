"""The command line: what was asked for, what an error says, and the exit code. The commands are in `command_table`."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import robot_stack
from robot_stack.command_table import COMMANDS
from robot_stack.errors import ReplayMismatch, RobotStackError

EXIT_ERROR, EXIT_MISMATCH, EXIT_INTERRUPTED = 2, 3, 130
BAR_IN_A_FILE_S = "30"
EXTRAS = {
    "rclpy": "source the setup file of a ROS 2, or `make setup` (extra `ros`)",
    "mujoco": "pip install 'robot_stack[sim]'",
    "gymnasium": "pip install 'robot_stack[adroit]'",
    "gymnasium_robotics": "pip install 'robot_stack[adroit]'",
    "robosuite": "pip install 'robot_stack[robosuite]' (beside numpy 2: as pyproject.toml says)",
    "h5py": "pip install 'robot_stack[adroit]' (or [robomimic])",
    "rerun": "pip install 'robot_stack[rerun]'",
    "onnxruntime": "pip install 'robot_stack[cpu]' or 'robot_stack[gpu]'",
    "serial": "pip install 'robot_stack[servos]'",
    "ray": "pip install 'robot_stack[scale]'",
    "robomimic": "pip install 'robot_stack[robomimic]'",
    "lerobot": "pip install 'robot_stack[lerobot]', then `pip install --no-deps lerobot==0.4.4`",
    "mink": "pip install 'robot_stack[teleop]'",
    "cryptography": "pip install 'robot_stack[secure]'",
    "websockets": "pip install 'robot_stack[console]'",
} | {
    name: "pip install 'robot_stack[train]'"
    for name in ("torch", "onnx", "onnxscript", "pyarrow", "av", "matplotlib", "scipy", "tensorboardX")
}
"""Where a library that a command needs, and is not there, comes from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 well, 1 a fault was found, 2 a clear error, 3 a difference or rejection, 4 a bundle held, 130 Ctrl-C."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    settle_bars()
    try:
        return _dispatch(asked)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"robot-stack {asked.command}: interrupted; logs closed, arm stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        step = EXTRAS.get((error.name or "").split(".")[0])
        if step is None:
            raise
        print(f"robot-stack {asked.command}: {error.name} is not installed; next: {step}", file=sys.stderr)
        return EXIT_ERROR
    except RobotStackError as error:
        if asked.verbose:
            traceback.print_exc()
        print(f"robot-stack {asked.command}: {error}", file=sys.stderr)
        return EXIT_MISMATCH if isinstance(error, ReplayMismatch) else EXIT_ERROR


def settle_bars() -> None:
    """What every bar of tqdm reads when it is first imported: in a file it speaks seldom, in torchrun's other processes never."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", BAR_IN_A_FILE_S)
        os.environ.setdefault("TQDM_MAXINTERVAL", BAR_IN_A_FILE_S)
    if os.environ.get("RANK", "0") != "0":
        os.environ["TQDM_DISABLE"] = "1"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a command as Ctrl-C does: by the way out, not in the middle."""
    raise KeyboardInterrupt


def _dispatch(asked: argparse.Namespace) -> int:
    command = COMMANDS[asked.command]
    if not command.settings:
        return command.call(asked.overrides)
    from robot_stack.config import commands
    from robot_stack.config.load import load
    from robot_stack.config.plain import keys_of, type_name

    settings = getattr(commands, command.settings)
    if asked.keys:
        print("\n".join(f"{key}: {type_name(hint)}" for key, hint in keys_of(settings).items()))
        return 0
    return command.call(load(settings, as_overrides(asked.overrides, command.main_key)))


def as_overrides(words: Sequence[str], main_key: str) -> list[str]:
    """Bare `words` together are the value of `main_key`, separated as in PATH."""
    bare = [word for word in words if "=" not in word and main_key]
    return [word for word in words if word not in bare] + ([f"{main_key}={os.pathsep.join(bare)}"] if bare else [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="robot-stack", description=robot_stack.__doc__)
    parser.add_argument("--version", action="version", version=f"robot-stack {robot_stack.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            epilog="example:\n" + "\n".join(f"  {line}" for line in command.example.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        kind = "key=value, or a path" if command.main_key else "key=value" if command.settings else "name"
        sub.add_argument("overrides", nargs="*", metavar="KEY=VALUE" if command.settings else "NAME", help=kind)
        sub.add_argument("-v", "--verbose", action="store_true", help="print the traceback of an error")
        if command.settings:
            sub.add_argument("--keys", action="store_true", help="list every key with its type, and end")
    return parser
