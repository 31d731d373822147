"""Re-simulation: the recorded commands, open loop, from the recorded start. What differs is the simulator, not the policy.

A lock-step log comes out bit for bit the same. A live log does not: there a command takes time to the drives, which the log does
not hold, and so does a world that lost time because the computer was busy. `identify` finds the first, nothing the second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.dynamics import Change
from drivers.mjcf import TIMESTEP_NS
from drivers.scenario import SCENARIOS, Scenario, drive
from drivers.sim_world import SimWorld
from robot_stack.clock import nanoseconds, seconds
from robot_stack.config import plain
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import TaskSettings
from robot_stack.data.from_log import sent
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.errors import ConfigError, DataError
from robot_stack.replay.resim.divergence import Motion
from robot_stack.replay.resim.trust import Track
from robot_stack.robot import RobotSpec
from robot_stack.types import CameraFrame, JointState, Request, SafeCommand

GREY = 12
"""Grey levels by which a value of a picture must differ to count: the cameras' own noise is two."""
_ARM = (Request.ARM_POLICY, Request.ARM_TELEOP)


@dataclass(frozen=True, slots=True, eq=False)
class ArmRecording:
    """What a log of the simulated arm tells about its world: the start (`seed`), what was sent, what was measured.

    `motion.t_s` are the measurements' own times; `begin_ns` is when the scenario began (None: never armed).
    """

    spec: RobotSpec
    task: TaskSettings
    seed: int
    scenario: Scenario
    begin_ns: int | None
    commands: tuple[SafeCommand, ...]
    joints: tuple[JointState, ...]
    motion: Motion
    pictures: tuple[CameraFrame, ...] = ()


def arm_recording(log: EpisodeLog, pictures: int = 0) -> ArmRecording:
    """The recording in a log of a simulated arm; with `pictures` of its first camera, spread over it.

    Raises DataError where the log has no tick, was in shadow or does not say how its world began, ConfigError where the robot
    is gone.
    """
    spec = load_robot(log.metadata.robot)
    steps = list(sent(log).steps())
    if not steps:
        raise DataError(f"log {log.path}: found no tick, allowed a log of arm_node or of a lock-step run")
    joints = {step.inputs.joints.t_ns: step.inputs.joints for step in steps if step.inputs.joints is not None}
    states = tuple(joints[t] for t in sorted(joints))
    t_s = np.array([seconds(state.t_ns) for state in states])
    return ArmRecording(
        spec=spec,
        task=_task(log),
        seed=_seed(log),
        scenario=SCENARIOS[log.metadata.scenario or "nominal"],
        begin_ns=next((step.t_ns for step in steps if step.inputs.request in _ARM), None),
        commands=tuple(step.verdict.command for step in steps),
        joints=states,
        motion=Motion(log.name, t_s, spec.joint_names, np.array([state.q for state in states])),
        pictures=_some_pictures(log, spec, pictures),
    )


def resimulate_arm(recording: ArmRecording, world: SimWorld, lead_s: float = 0.0) -> Motion:
    """Play the recorded commands in `world` from the recorded start; joints and success as they come out there.

    Success is what the world says at the end. A command takes effect at the physics step its stamp falls into, `lead_s` earlier
    where the stamps of commands and of joints are of clocks that differ: with a delay of as much in the drives nothing changes.
    """
    return _play(recording, world, (), nanoseconds(lead_s))[0]


def world_of(recording: ArmRecording, changes: Sequence[Change] = ()) -> SimWorld:
    """The world of the recording, with its drives as modelled but for `changes`."""
    return SimWorld(recording.spec, recording.task, changes=changes)


def track_of(recording: ArmRecording, motion: Motion) -> Track:
    """`motion` (the recorded one, or a re-simulation) with the command that was newest at each of its samples."""
    sent = np.searchsorted([c.t_ns for c in recording.commands], [s.t_ns for s in recording.joints], side="right") - 1
    return Track(motion.q, np.array([recording.commands[max(i, 0)].q for i in sent]))


def picture_gap(recording: ArmRecording, world: SimWorld) -> list[float]:
    """For each picture of the recording, the share of values that are not what `world` shows when the commands are played.

    The log of a robot holds no true place of any object: the picture is what tells whether they went where they had gone.
    """
    shown = _play(recording, world, recording.pictures, 0)[1]
    gaps = [np.abs(a.rgb.astype(int) - b.rgb) > GREY for a, b in zip(recording.pictures, shown, strict=True)]
    return [float(gap.mean()) for gap in gaps]


def _play(
    recording: ArmRecording, world: SimWorld, pictures: Sequence[CameraFrame], lead_ns: int
) -> tuple[Motion, list[CameraFrame]]:
    world.reset(recording.seed)
    events: list[tuple[int, int, Any]] = [(state.t_ns, 0, state) for state in recording.joints]
    events += [(frame.t_ns, 1, frame) for frame in pictures]
    events += [(command.t_ns - lead_ns, 2, command) for command in recording.commands]
    events.sort(key=lambda event: event[:2])
    offset_ns = world.t_ns - min(recording.joints[0].t_ns, events[0][0])
    q, shown = [], []
    for t_ns, _, event in events:
        steps = max(t_ns + offset_ns - world.t_ns, 0) // TIMESTEP_NS
        world.advance(steps * TIMESTEP_NS)
        if isinstance(event, JointState):
            q.append(world.joints().q)
        elif isinstance(event, CameraFrame):
            shown.append(world.render(event.camera))
        else:
            if recording.begin_ns is not None and t_ns >= recording.begin_ns:
                drive(recording.scenario, world, seconds(t_ns - recording.begin_ns))
            world.send(event)
    m = recording.motion
    return Motion(m.name, m.t_s, m.joint_names, np.array(q), success=bool(world.truth().success)), shown


def _seed(log: EpisodeLog) -> int:
    """The seed of the world's start: in the label of a lock-step log; of a live one, the run's plus its number."""
    settings = log.metadata.settings
    label, run = settings.get("label", {}), settings.get("settings", {})
    if isinstance(label, Mapping) and "seed" in label:
        return int(label["seed"])
    number = log.name.split("_")[0]
    if isinstance(run, Mapping) and "seed" in run and number.isdigit():
        return int(run["seed"]) + int(number)
    raise DataError(f"log {log.path}: found no seed in its metadata, allowed a log of a simulated world that says how it began")


def _task(log: EpisodeLog) -> TaskSettings:
    found = log.metadata.settings.get("task")
    if not isinstance(found, Mapping):
        raise DataError(f"log {log.path}: no settings of `task` in its metadata; only logs of the simulated cell have them")
    try:
        return plain.build(TaskSettings, found, "task.")
    except ConfigError as error:
        raise DataError(f"log {log.path}: settings of `task` are of another version ({error})") from error


def _some_pictures(log: EpisodeLog, spec: RobotSpec, count: int) -> tuple[CameraFrame, ...]:
    if not count or not spec.cameras:
        return ()
    topic = f"/{spec.cameras[0].name}/image"
    frames = [value for _, _, value in log.iterate({topic}) if isinstance(value, CameraFrame)]
    rows = {round(row) for row in np.linspace(0, len(frames) - 1, count)} if frames else set()
    return tuple(frames[i] for i in sorted(rows))
