"""A recorder to be killed: for each folder named on standard input it forks a process that records until it is.

It hears made-up joints at 250 Hz and pictures at 30 Hz. Standard output: a line with its process id, then the time (ns, 8 bytes)
of each message it was given.
"""

import importlib
import os
import struct
import sys
import time
from pathlib import Path

from robot_stack.collect.recorder import Recorder
from robot_stack.config.collect import CollectSettings
from robot_stack.types import CameraFrame, JointState
from tests.collect.small_robot import METADATA, message, picture, wish

TICK_S = 0.004

importlib.import_module("av")  # once, before the first fork


def record(folder: Path, codec: str) -> None:
    """Until killed."""
    recorder = Recorder(CollectSettings(codec=codec), print, print)
    recorder.start(folder, METADATA)
    os.write(1, f"{os.getpid()}\n".encode())
    pictures = [picture(i) for i in range(10)]
    for i in range(10**9):
        t = time.monotonic_ns()
        recorder.put("/joint_states", t, message(JointState(t, wish(i * TICK_S), wish(0.0))))
        if i % 8 == 0:
            recorder.put("/scene/image", t, message(CameraFrame("scene", t, pictures[i % 10])))
        os.write(1, struct.pack("q", t))
        time.sleep(TICK_S)


if __name__ == "__main__":
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            record(Path(line.strip()), sys.argv[1])
        os.waitpid(child, 0)
        os.write(1, b"killed__")
