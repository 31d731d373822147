"""What `control_step` needs of safety, for one robot: who may move, and what of it reaches the motors."""

from robot_stack.config.schema import SafetySettings
from robot_stack.interfaces import Situation
from robot_stack.robot import RobotSpec
from robot_stack.types import JointCommand, Mode, Reason, Request, SafetyVerdict
from safety.arbitration import arbitrate
from safety.filter import Filter


class SafetyLayer:
    """The `interfaces.Safety` that ships: numpy and daqp, no state of its own. Raises ConfigError on a barrier it can't use."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        self.dt_ns = spec.dt_ns
        self._settings = settings
        self._qd_max = spec.qd_max
        self._filter = Filter(spec, settings)

    def arbitrate(self, situation: Situation, request: Request | None, now_ns: int) -> tuple[Mode, tuple[Reason, ...]]:
        """The mode of this tick and why it differs from the last; a refused arming says NOT_READY and what is lacking."""
        return arbitrate(situation, request, now_ns, self._settings, self._qd_max)

    def check(self, wish: JointCommand | None, situation: Situation, now_ns: int) -> SafetyVerdict:
        """The verdict on `wish` (None: nobody has one, so brake) in `situation`, whose mode is already the new one."""
        return self._filter.check(wish, situation, now_ns)
