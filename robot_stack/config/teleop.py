"""The human's device: what `robot-stack run` and `record` are told of it. Each option of the group is a file in `teleop/`."""

from dataclasses import dataclass, field, fields

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError

KINDS = ("", "scripted", "leader", "gamepad", "keyboard", "spacemouse", "joy")
RELEASES = ("hold", "policy")
FRAMES = ("world", "tool")


@dataclass(frozen=True)
class TeleopSettings:
    """`kind` "": in `record` the script that plays a human on the simulated arm, in `run` nobody.

    `device`: gamepad, keyboard, the leader's pedal: a path of /dev/input/by-id ("": the first with the keys that are named here;
    leader: no pedal, it leads as long as it answers); spacemouse: of /dev/hidraw* ("": the first); joy: its topic.
    `clutch`: the arm follows while this key or button is held. `release`: what letting go means while a policy runs. hold: the
    arm brakes and holds until `confirm` is pressed, or the clutch again, or STOP; policy: the policy goes on at once.
    `axes`: what moves x, y, z, roll, pitch, yaw and the gripper: names of axes, keys and buttons; "-" turns one round, "~" makes
    each press turn it round. Names are those of <linux/input-event-codes.h>; of joy axis0.., button0..; of spacemouse x y z rx
    ry rz button0... Full tilt is `linear_speed` m/s, `angular_speed` rad/s and `grip_speed` of the gripper's greatest; less than
    `deadband` of it is none. Directions are the `frame`'s, the world's turned by `yaw` rad: where the human stands.
    `leader`: its robot file; `leader_joints`: which of its joints moves each joint of the arm ([]: the one of the same name, ""
    none, "-" turned round). From where clutching left it, the arm comes to the leader's pose with `align_speed` rad/s (0: never);
    not so where it turns by `leader_scale` of what the leader does: then it keeps the difference.
    A chunk every `period_s`. A wish leads the measured joints by at most `lead` rad. A device that has to speak and has not for
    `silent_s` is a hand off it; one that is lost is tried again after `retry_s`, then twice as long each time.
    """

    kind: str = ""
    device: str = ""
    clutch: str = ""
    confirm: str = ""
    axes: list[str] = field(default_factory=list)
    release: str = "hold"
    period_s: float = 0.02
    silent_s: float = 0.25
    retry_s: float = 0.25
    lead: float = 0.15
    linear_speed: float = 0.2
    angular_speed: float = 1.0
    grip_speed: float = 0.5
    deadband: float = 0.1
    frame: str = "world"
    yaw: float = 0.0
    leader: str = ""
    leader_joints: list[str] = field(default_factory=list)
    leader_scale: float = 1.0
    align_speed: float = 0.3

    def __post_init__(self) -> None:
        for key, allowed in (("kind", KINDS), ("release", RELEASES), ("frame", FRAMES)):
            if (value := getattr(self, key)) not in allowed:
                raise ConfigError(f"teleop.{key}: found {value!r}, allowed {', '.join(filter(None, allowed))}")
        at_least("teleop", self, 0.005, "period_s", "silent_s", "retry_s", "lead")
        at_least("teleop", self, 0.0, *(one.name for one in fields(self) if one.type is float and one.name != "yaw"))
        if not self.deadband < 1.0:
            raise ConfigError(f"teleop.deadband: found {self.deadband}, allowed below 1 (a share of full tilt)")
