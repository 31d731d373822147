"""A Teleoperator of any device with a clutch: while it is held the arm follows, from where it is; let go, nothing is said.

Silence makes arm_node brake the arm (`safety.teleop_silent_s`), so a hand that slips, a device that is unplugged and a process
that dies all end alike. The chunks say when the clutch was pressed (TAKE, for `PRESS_NS`), is held (HELD) and, if a policy waits,
given back (GIVE): `robot_stack.control.handover` reads that. Giving back holds until confirmed unless told otherwise
(`teleop.release`): a hand that slips looks like a hand that lets go, and the policy that was just corrected must not take it for
a permission.
"""

from collections.abc import Callable
from typing import Protocol

from drivers.hand import Clutch, Controls, Hand, Inputs
from drivers.wish import Wish
from robot_stack.clock import NS_PER_S
from robot_stack.config.teleop import TeleopSettings
from robot_stack.control import GIVE, HELD, TAKE
from robot_stack.errors import DriverError
from robot_stack.robot import RobotSpec
from robot_stack.types import ActionChunk, Array, JointState

PRESS_NS = 500_000_000
PAUSE_NS = 100_000_000
"""After a longer pause between two looks the hand goes on from where the arm is then."""


class Looked(Protocol):
    """A device's axes, keys and buttons."""

    def read(self, now_ns: int) -> Inputs:
        """How they are pushed. Never blocks. Raises DriverError while the device is lost."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Mover(Protocol):
    """What makes joint motion of the hand's."""

    def begin(self, q: Array, now_ns: int) -> None:
        """The clutch was pressed with the wish at `q` (J,). Raises DriverError when the device is lost."""
        ...

    def move(self, hand: Hand, q: Array, dt_s: float, now_ns: int) -> tuple[Array, Array]:
        """Where the wish at `q` (J,) goes within `dt_s`, and its speed (J,). Raises DriverError when the device is lost."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class ClutchedTeleoperator:
    """Moves `robot` by `mover` while the clutch among `inputs` (None: always) is held.

    `joints` gives the newest state, `commanded` what was last sent (None: not known). `returns`: a policy waits for the arm.
    """

    def __init__(
        self,
        robot: RobotSpec,
        settings: TeleopSettings,
        inputs: Looked | None,
        mover: Mover,
        joints: Callable[[], JointState | None],
        commanded: Callable[[], Array | None],
        returns: bool,
    ) -> None:
        self._inputs, self._mover, self._joints, self._commanded = inputs, mover, joints, commanded
        self._controls, self._clutch = Controls(settings), Clutch(settings)
        self._wish = Wish(robot, settings.lead)
        self._returns = returns
        self._pressed_ns = 0
        self._acted_ns: int | None = None

    @property
    def done(self) -> bool:
        """The arm was given back."""
        return self._clutch.given

    def act(self, now_ns: int) -> ActionChunk | None:
        """The motion wanted from `now_ns` on, or None when the hand is off. Raises DriverError while the device is lost."""
        joints = self._joints()
        try:
            hand = self._controls.hand({} if self._inputs is None else self._inputs.read(now_ns))
            if not self._clutch.feel(hand, now_ns) or joints is None:
                self._acted_ns = None
                return None if joints is None else self._given(joints, now_ns)
            return self._followed(hand, joints, now_ns)
        except DriverError:
            self._clutch.lost()
            self._acted_ns = None
            raise

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        if self._inputs is not None:
            self._inputs.close()
        self._mover.close()

    def _given(self, joints: JointState, now_ns: int) -> ActionChunk | None:
        """For a moment, that the arm is given back; with it, to stand where it is held."""
        if not self._returns or not self._clutch.giving(now_ns):
            return None
        self._wish.begin(joints, self._commanded())
        return self._wish.chunk(now_ns, GIVE)

    def _followed(self, hand: Hand, joints: JointState, now_ns: int) -> ActionChunk:
        if self._acted_ns is None:
            self._pressed_ns = now_ns
        if self._acted_ns is None or now_ns - self._acted_ns > PAUSE_NS:
            self._wish.begin(joints, self._commanded())
            self._mover.begin(self._wish.q, now_ns)
            self._acted_ns = now_ns
        dt_s = (now_ns - self._acted_ns) / NS_PER_S
        self._acted_ns = now_ns
        self._wish.move(*self._mover.move(hand, self._wish.q, dt_s, now_ns), joints)
        return self._wish.chunk(now_ns, TAKE if now_ns - self._pressed_ns < PRESS_NS else HELD)
