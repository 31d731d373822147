"""Shadow mode: the whole robot runs and is logged, and nothing is sent. Whoever holds or moves the arm goes on doing so."""

from robot_stack.interfaces import Arm
from robot_stack.types import JointState, SafeCommand


class ShadowArm:
    """An arm to look at. It keeps how to read and how to leave the real one, and has no way to send it anything."""

    def __init__(self, arm: Arm) -> None:
        self.joint_names = arm.joint_names
        self._read, self._close = arm.read, arm.close

    def read(self) -> JointState:
        """What the real arm measured. Raises DriverError as it does."""
        return self._read()

    def send(self, command: SafeCommand) -> None:
        """Nothing: the command ends here."""

    def close(self) -> None:
        """Release the real arm."""
        self._close()
