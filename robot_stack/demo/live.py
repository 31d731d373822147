"""The part of the demo that runs in real time: the ROS 2 graph as processes, the human's door and the policy's."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from robot_stack import episodes
from robot_stack.collect.record import record
from robot_stack.collect.terminal import Terminal, nobody
from robot_stack.config.collect import CollectSettings
from robot_stack.config.commands import DemoCommand, RecordCommand, RunCommand
from robot_stack.episodes import Ended
from robot_stack.types import Mode

SCENARIOS = ("nominal", "obstacle", "frozen")


def demonstrate(command: DemoCommand, folder: Path) -> list[Ended]:
    """Demonstrations by the scripted human through teleop_node, arm_node's filter and recorder_node."""
    run = replace(command.run, log_dir=str(folder), episodes=["nominal"] * command.demo.live_demonstrations)
    alone = CollectSettings(unattended=True)
    asked = RecordCommand(
        command.robot, run=run, safety=command.safety, detector=command.detector, task=command.task, collect=alone
    )
    return _shown(record(asked, nobody(), Terminal()))


def perform(command: DemoCommand, bundle: Path, folder: Path) -> list[Ended]:
    """The policy of `bundle`, protected as `command` says, in each of `SCENARIOS`."""
    run = replace(command.run, log_dir=str(folder), episodes=list(SCENARIOS))
    asked = RunCommand(str(bundle), command.robot, run, command.safety, command.monitor, command.detector, command.task)
    return _shown(episodes.run(asked))


def _shown(episodes: Iterable[Ended]) -> list[Ended]:
    ended = []
    for episode in episodes:
        print(f"  {episode}", flush=True)
        ended.append(episode)
    return ended


def shortfalls(ended: Sequence[Ended]) -> list[str]:
    """What did not end as it should, as sentences: the obstacle was touched, or a frozen camera did not end in STOP."""
    touched = [e for e in ended if e.clearance is not None and e.clearance < 0]
    went_on = [e for e in ended if e.scenario == "frozen" and e.mode is not Mode.STOP]
    return [
        *(f"{e.scenario}: the arm touched the obstacle" for e in touched),
        *(f"{e.scenario}: ended in mode {e.mode.value}, should be {Mode.STOP.value}" for e in went_on),
    ]
