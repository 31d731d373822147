"""Made-up episodes of two joints and one camera: what a recorder hears, message by message."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from robot_stack.config.robot_file import load_robot
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.data.rosbags_messages import make, serialize_cdr
from robot_stack.data.wire import to_message
from robot_stack.robot import RobotSpec
from robot_stack.types import (
    CameraFrame,
    Decision,
    Image,
    JointCommand,
    JointState,
    Mode,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
)

TICK_NS, FRAME_NS = 10_000_000, 40_000_000
"""100 Hz and 25 Hz."""

NAMES = ("base_yaw", "shoulder")
METADATA = LogMetadata("sim_arm", NAMES, instruction="tidy up", scenario="nominal")
Said = tuple[str, int, object]
"""Topic, when it arrives, value."""


def robot() -> RobotSpec:
    """Two joints of sim_arm and its scene camera at 25 Hz."""
    whole = load_robot("sim_arm")
    camera = replace(whole.camera("scene"), rate_hz=25.0)
    capsules, home = whole.capsules[:1], whole.q_home[:2]
    return replace(whole, joints=whole.joints[:2], cameras=(camera,), q_home=home, capsules=capsules, tip_joint=1, may_touch=())


def picture(i: int) -> Image:
    """Each is another one."""
    return np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)


def episode(seconds: float = 2.0, begin_ns: int = 10**9) -> Iterator[Said]:
    """A good one: the joints follow a slow sine 30 ms late, the camera keeps its rate; disarmed at both ends."""
    ticks = round(seconds * 1e9) // TICK_NS
    for i in range(ticks):
        t = begin_ns + i * TICK_NS
        state = JointState(t, wish((t - 30_000_000 - begin_ns) / 1e9), np.zeros(2))
        command = SafeCommand(JointCommand(t, wish((t - begin_ns) / 1e9), np.zeros(2)))
        mode = Mode.TELEOP if 10 <= i < ticks - 10 else Mode.DISARMED
        yield "/joint_states", t, state
        yield "/arm/command", t, command
        yield "/arm/verdict", t, Step(t, 0, TickInputs(), SafetyVerdict(t, mode, Decision.PASS, None, command))
        if (t - begin_ns) % FRAME_NS == 0:
            yield "/scene/image", t + 5_000_000, CameraFrame("scene", t, picture(i))


def wish(t_s: float) -> np.ndarray:
    """(2,) rad."""
    return 0.4 * np.sin(np.array([1.0, 2.0]) * max(t_s, 0.0))


def message(value: object) -> bytes:
    """As it travels."""
    return serialize_cdr(to_message(value, make, NAMES))


def write(folder: Path, said: Iterator[Said]) -> Path:
    """A log of it."""
    with LogWriter(folder, METADATA, patient=True) as log:
        for topic, t_ns, value in said:
            log.write_value(topic, t_ns, value)
    return folder
