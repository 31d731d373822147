"""`robot-stack replay publish=true`: the player as a process of its own, on this computer's loopback, and attended to."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from robot_stack.config import plain
from robot_stack.config.playback import Playback, PlaybackSettings
from robot_stack.discovery import environment
from robot_stack.errors import RobotStackError


def publish(logs: Sequence[Path], settings: PlaybackSettings) -> str:
    """Play `logs` until they end, a key or Ctrl-C ends it; what was played, as text. The terminal is the player's.

    Raises ConfigError when discovery would leave this computer unasked, RobotStackError when the player gave up,
    ModuleNotFoundError without ROS 2.
    """
    if find_spec("rclpy") is None:
        raise ModuleNotFoundError("the player needs rclpy", name="rclpy")
    domain = settings.domain if settings.domain >= 0 else int(os.environ.get("ROS_DOMAIN_ID") or 0)
    with tempfile.TemporaryDirectory(prefix="robot_stack_") as folder:
        added = environment(os.environ, Path(folder), domain, settings.network)
        file = Path(folder) / "playback.yaml"
        plain.write(Playback([str(log.resolve()) for log in logs], settings), file)
        command = [sys.executable, "-m", "robot_stack.nodes.playback_node", str(file)]
        code = _attended(subprocess.Popen(command, env={**os.environ, **added}))
    if code:
        raise RobotStackError(f"replay: the player ended with {code}; what it said is above")
    return f"played {', '.join(log.name for log in logs)} (ROS domain {domain})"


def _attended(player: "subprocess.Popen[bytes]") -> int:
    """The exit code of `player`; it ends first, also when this process is told to."""
    try:
        return player.wait()
    finally:
        if player.poll() is None:
            player.send_signal(signal.SIGINT)
            player.wait()
