"""Made-up recordings, logs and bags for the tests of datasets."""

import numpy as np

from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.data.recording import ACTION, STATE, TIMESTAMP, Pictures, Recording
from robot_stack.types import CameraFrame, Decision, JointCommand, JointState, Mode, SafeCommand, SafetyVerdict, Step, TickInputs

JOINTS = ("base", "elbow", "grip")
TICK = 10_000_000
START = 10**12


def picture(i, height=48, width=64):
    """Waves that move to the right, so that every picture is another one and compresses."""
    phase = np.arange(width)[None, :, None] / 9 + np.arange(height)[:, None, None] / 13 + np.array([0, 0.3, 0.6]) + i / 4
    return (128 + 100 * np.sin(phase)).astype(np.uint8)


def recording(name="one", rows=40, rate_hz=20.0, seed=0, camera=True, task="Stack.", dtype=np.float32):
    random = np.random.default_rng(seed)
    q = np.cumsum(random.normal(0, 0.01, (rows, 3)), axis=0).astype(dtype)
    return Recording(
        name=name,
        rate_hz=rate_hz,
        columns={
            STATE: q,
            ACTION: (q + random.normal(0, 0.001, q.shape)).astype(dtype),
            TIMESTAMP: (np.arange(rows) / rate_hz).astype(np.float32),
            "next.reward": random.normal(size=rows).astype(np.float32),
            "next.done": np.arange(rows) == rows - 1,
        },
        names={STATE: JOINTS, ACTION: JOINTS},
        cameras={"top": Pictures(lambda: (picture(i) for i in range(rows)), range(rows))} if camera else {},
        task=task,
        robot="made_up",
        constants={"qpos": [0.1 + seed, 1 / 3]},
        about={"env_args": {"env_name": "made_up", "type": 2, "env_kwargs": {}}},
    )


def write_teleop(folder, ticks=120, camera=True):
    """An episode log at 100 Hz, armed from tick 20 on, a picture every 4th tick."""
    with LogWriter(folder, LogMetadata("sim_arm", JOINTS, instruction="Go.")) as log:
        for i in range(ticks):
            t = START + i * TICK
            q = np.array([np.sin(i / 30), np.cos(i / 20), i / 1000]) + 1e-9
            state = JointState(t - 1, q, np.zeros(3))
            if camera and i % 4 == 0:
                log.write_value("/scene/image", t, CameraFrame("scene", t - 3_000_000, picture(i)))
            command = SafeCommand(JointCommand(t, q + 0.01, np.zeros(3)))
            verdict = SafetyVerdict(t, Mode.TELEOP if i >= 20 else Mode.DISARMED, Decision.PASS, None, command)
            log.write_value("/joint_states", t, state)
            log.write_value("/arm/verdict", t, Step(t, 2000, TickInputs(joints=state), verdict))
    return folder
