"""The command line. Each command is typed settings (`config/commands.py`) and one function, imported when asked for."""

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import robot_stack
from robot_stack.errors import ReplayMismatch, RobotStackError

if TYPE_CHECKING:
    from robot_stack.config import commands

EXIT_ERROR, EXIT_MISMATCH, EXIT_INTERRUPTED = 2, 3, 130
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
} | {name: "pip install 'robot_stack[train]'" for name in ("torch", "onnx", "onnxscript", "pyarrow", "av", "matplotlib", "scipy")}
"""Where a library that a command needs, and is not there, comes from."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its class in `config.commands` ("" = takes names, not keys), the key a bare argument sets, and its help."""

    settings: str
    main_key: str
    summary: str
    example: str
    call: Callable[..., int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 well, 1 a fault was found, 2 a clear error, 3 a difference or rejection, 4 a bundle held, 130 Ctrl-C."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
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
    return command.call(load(settings, _as_overrides(asked.overrides, command.main_key)))


def _as_overrides(words: Sequence[str], main_key: str) -> list[str]:
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


def _run(settings: "commands.RunCommand | commands.RecordCommand") -> int:
    from robot_stack import episodes

    with closing(episodes.run(settings)) as ended:
        for episode in ended:
            print(episode, flush=True)
    return 0


def _train(settings: "commands.TrainCommand") -> int:
    from robot_stack.learn import train

    print(f"checkpoint: {train(settings)}")
    return 0


def _export(settings: "commands.ExportCommand") -> int:
    from robot_stack.learn import export

    print(f"bundle: {export(settings)}")
    return 0


def _replay(settings: "commands.ReplayCommand") -> int:
    from robot_stack.verify import replay

    print(replay(settings))
    return 0


def _resim(settings: "commands.ResimCommand") -> int:
    from robot_stack.resim import resimulate

    print(resimulate(settings))
    return 0


def _validate(settings: "commands.ValidateCommand") -> int:
    from robot_stack.validate import validate

    text, code = validate(settings)
    print(text)
    return code


def _report(settings: "commands.ReportCommand") -> int:
    from robot_stack.verify import report

    print(f"report: {report(settings)}")
    return 0


def _certify(settings: "commands.CertifyCommand") -> int:
    from robot_stack.certify import certify

    print(certify(settings))
    return 0


def _doctor(settings: "commands.DoctorCommand") -> int:
    from robot_stack import doctor

    checks = doctor.examine(settings)
    print(doctor.table(checks))
    return doctor.exit_code(checks)


def _demo(settings: "commands.DemoCommand") -> int:
    from robot_stack.demo.main import run_demo

    run_demo(settings)
    return 0


def _later(module: str) -> Callable[..., int]:
    """`main` of robot_stack.<module>, imported when it is called."""
    return lambda asked: int(importlib.import_module(f"robot_stack.{module}").main(asked))


COMMANDS = {
    "run": Command(
        "RunCommand",
        "bundle",
        "launch the ROS 2 graph with a policy, play run.episodes, write one log each",
        "robot-stack run bundle=runs/bundle run.episodes=[nominal,obstacle,frozen]\n"
        "robot-stack run bundle=runs/bundle shadow=true",
        _run,
    ),
    "record": Command(
        "RecordCommand",
        "",
        "launch the same graph with a human in the policy's place and record demonstrations",
        "robot-stack record run.episodes=[nominal,nominal,obstacle] run.log_dir=runs/teleop",
        _run,
    ),
    "train": Command(
        "TrainCommand",
        "dataset",
        "train a policy on a LeRobot dataset or on a folder of episode logs",
        "robot-stack train dataset=../shared/data/g1_bottle policy=flow out=runs/g1",
        _train,
    ),
    "export": Command(
        "ExportCommand",
        "checkpoint",
        "turn a checkpoint into one bundle: the network, its selector, a parity figure",
        "robot-stack export checkpoint=runs/g1 dataset=../shared/data/g1_bottle out=runs/g1_bundle",
        _export,
    ),
    "replay": Command(
        "ReplayCommand",
        "log",
        "replay logs (verdicts must be bit-equal) or play them on ROS 2 topics; or a dataset through a bundle (chunk error)",
        "robot-stack replay log=runs/teleop\n"
        "robot-stack replay log=runs/teleop config=safety.keep_out_margin=0.05\n"
        "robot-stack replay log=runs/teleop ray=local\n"
        "robot-stack replay log=runs/teleop publish=true playback.rate=0.5\n"
        "robot-stack replay dataset=../shared/data/g1_bottle bundle=runs/g1_bundle out=runs/g1_replay",
        _replay,
    ),
    "resim": Command(
        "ResimCommand",
        "log",
        "play recorded commands again in the simulator, open loop: divergence, success, and drives that fit the log better",
        "robot-stack resim log=runs/teleop identify=true\nrobot-stack resim dataset=../shared/data/adroit_door out=runs/adroit",
        _resim,
    ),
    "validate": Command(
        "ValidateCommand",
        "bundle",
        "may this bundle replace that one? replay, re-simulate; exit code: 0 promote, 3 reject, 4 hold, 2 an error",
        "robot-stack validate bundle=runs/bundle against=runs/bundle0 logs=runs/teleop suite=[small,intruder]\n"
        "robot-stack validate bundle=runs/bundle0 against=runs/bundle0 logs=runs/teleop config=safety.keep_out_margin=0.05",
        _validate,
    ),
    "report": Command(
        "ReportCommand",
        "log",
        "write one self-contained HTML report of the episode logs in a folder",
        "robot-stack report log=runs/teleop out=runs/teleop.html",
        _report,
    ),
    "certify": Command(
        "CertifyCommand",
        "bundle",
        "bound how far noise or an attack on the observation moves a bundle's actions, and attack it to see",
        "robot-stack certify bundle=runs/bundle dataset=runs/teleop\n"
        "robot-stack certify bundle=runs/bundle dataset=runs/teleop checkpoint=runs/train smoothing.observations=4",
        _certify,
    ),
    "data": Command(
        "",
        "",
        "datasets of any format: ls, info, show, convert, repair; edit (delete, trim, split, merge, ...), undo, gc",
        "robot-stack data ls runs/teleop\nrobot-stack data convert runs/teleop to=lerobot-v3 out=runs/teleop_v3",
        _later("datasets.commands"),
    ),
    "doctor": Command("DoctorCommand", "", "look at this computer: is it fit to run the robot?", "robot-stack doctor", _doctor),
    "find-arms": Command("", "", "list serial ports and the servos that answer", "robot-stack find-arms", _later("find_arms")),
    "find-cameras": Command(
        "FindCamerasCommand",
        "",
        "list cameras, those plugged in and those named; take a picture of each",
        "robot-stack find-cameras\nrobot-stack find-cameras urls=[http://192.168.1.20/video] out=runs/cameras",
        _later("find_cameras"),
    ),
    "calibrate": Command(
        "CalibrateCommand",
        "robot",
        "measure zero, range and direction of each joint of a servo arm, moved by hand",
        "robot-stack calibrate robot=so101 port=/dev/ttyACM0",
        _later("calibrate"),
    ),
    "bench": Command("", "", "measure figures, print and store them", "robot-stack bench filter tick", _later("bench")),
    "demo": Command(
        "DemoCommand",
        "",
        "the main job on the simulated robot: collect, train, export, launch, break things, replay, report",
        "robot-stack demo demo.root=runs/demo",
        _demo,
    ),
}
