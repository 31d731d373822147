"""The last look at a command before a motor: what is no number, or not one for each joint, is refused and never put right."""

import numpy as np

from robot_stack.errors import DriverError
from robot_stack.types import JointCommand


def check_command(command: JointCommand, joint_names: tuple[str, ...], arm: str) -> None:
    """Raises DriverError, naming `arm`, unless `command` is finite and has one value for each of `joint_names`."""
    if command.q.shape != (len(joint_names),):
        raise DriverError(
            f"{arm}: found a command for {command.q.shape[0]} joints, allowed {len(joint_names)}: {', '.join(joint_names)}; "
            "order it as in the robot's file"
        )
    if not np.isfinite(command.q).all() or (command.qd is not None and not np.isfinite(command.qd).all()):
        raise DriverError(f"{arm}: found q={command.q} qd={command.qd}, allowed finite only; send it through safety/")
