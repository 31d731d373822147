"""Every command: typed settings (`config/commands.py`) and one function, whose module is imported when it is asked for."""

import importlib
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_stack.config import commands


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its class in `config.commands` ("" = takes names, not keys), the key a bare argument sets, and its help."""

    settings: str
    main_key: str
    summary: str
    example: str
    call: Callable[..., int]


def _run(settings: "commands.RunCommand") -> int:
    from robot_stack import episodes

    with closing(episodes.run(settings)) as ended:
        for episode in ended:
            print(episode, flush=True)
    return 0


def _train(settings: "commands.TrainCommand") -> int:
    from robot_stack.learn import train

    made = train(settings)
    if os.environ.get("RANK", "0") == "0":  # of the processes torchrun started one speaks
        print(f"checkpoint: {made}")
    return 0


def _export(settings: "commands.ExportCommand") -> int:
    from robot_stack.learn import export

    print(f"bundle: {export(settings)}")
    return 0


def _replay(settings: "commands.ReplayCommand") -> int:
    from robot_stack.replay.command import replay

    print(replay(settings))
    return 0


def _resim(settings: "commands.ResimCommand") -> int:
    from robot_stack.replay.resim.command import resimulate

    print(resimulate(settings))
    return 0


def _validate(settings: "commands.ValidateCommand") -> int:
    from robot_stack.replay.gate.command import validate

    text, code = validate(settings)
    print(text)
    return code


def _report(settings: "commands.ReportCommand") -> int:
    from robot_stack.replay.command import report

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
        "robot-stack run bundle=runs/bundle shadow=true\n"
        "robot-stack run bundle=runs/bundle teleop=gamepad",
        _run,
    ),
    "record": Command(
        "RecordCommand",
        "",
        "launch the same graph with a human in the policy's place and record demonstrations, by key, each looked through",
        "robot-stack record run.episodes=[nominal,nominal,obstacle] run.log_dir=runs/teleop\n"
        "robot-stack record out=runs/cubes collect.count=50 collect.reset_s=5 collect.pre_trigger_s=20 collect.prompt=beep\n"
        "robot-stack record out=runs/cubes resume=true collect.count=10\n"
        "robot-stack record robot=so101 teleop=leader safety.stop_after_s=60",
        _later("collect.record"),
    ),
    "train": Command(
        "TrainCommand",
        "dataset",
        "train a policy on a LeRobot dataset, a folder of episode logs or a robomimic file; with torchrun on many GPUs",
        "robot-stack train dataset=../shared/data/g1_bottle policy=flow out=runs/g1",
        _train,
    ),
    "export": Command(
        "ExportCommand",
        "checkpoint",
        "turn a checkpoint into one bundle: the network, its selector, a parity figure",
        "robot-stack export checkpoint=runs/g1 dataset=../shared/data/g1_bottle out=runs/g1_bundle\n"
        "robot-stack export checkpoint=runs/cubes dataset=runs/teleop selector=q_rank out=runs/ranked",
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
        "datasets of any format: ls, info, show, hard, check, convert, repair; edit (delete, trim, split, merge, ...), undo, gc",
        "robot-stack data ls runs/teleop\nrobot-stack data convert runs/teleop to=lerobot-v3 out=runs/teleop_v3\n"
        "robot-stack data hard runs/live out=runs/hard.html",
        _later("datasets.commands"),
    ),
    "relabel": Command(
        "RelabelCommand",
        "labellers",
        "work out new columns of a dataset, beside what was recorded: weights, rewards, margins, ...; undo=RUN takes them back",
        "robot-stack relabel interventions dataset=runs/hitl\nrobot-stack relabel undo=0001-interventions dataset=runs/hitl\n"
        "robot-stack relabel rewards critic weights dataset=runs/teleop critic.checkpoint=runs/cubes weights.by=critic",
        _later("relabel.commands"),
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
    "console": Command(
        "ConsoleCommand",
        "graph",
        "the operator's page for a running graph: cameras with the path to come, modes, margins, STOP; in any browser here",
        "robot-stack console\nrobot-stack console graph=runs/graph-20260101-120000-abcd port=8765",
        _later("console.start"),
    ),
    "secure": Command(
        "SecureCommand",
        "action",
        "what keeps strangers out: status, enclaves of DDS security, keys that sign bundles (keygen, sign, verify)",
        "robot-stack secure status\nrobot-stack secure enclaves robot=sim_arm out=runs/keystore\n"
        "robot-stack secure keygen key=runs/release\nrobot-stack secure sign bundle=runs/bundle key=runs/release",
        _later("secure.commands"),
    ),
    "fault": Command(
        "FaultCommand",
        "faults",
        "break the simulated robot on purpose (no name: list the faults) and say what came of it, and how soon",
        "robot-stack fault\nrobot-stack fault kill_policy_node frames_torn bundle=runs/bundle\n"
        "robot-stack fault encoder_jumps graph=runs/graph-20260101-120000-abcd",
        _later("faults.command"),
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
