"""How `robot-stack replay publish=true` plays a log on ROS 2 topics."""

import re
from dataclasses import dataclass, field

from robot_stack.config.bounds import at_least as _at_least
from robot_stack.errors import ConfigError

NAMESPACE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class PlaybackSettings:
    """From `start_s` to `end_s` (0: the end) after the first tick, `rate` times as fast as it happened, once or in a `loop`.

    `namespace` is put before every topic; "" gives the robot's own names, and is refused while a robot is on the graph.
    `step`: begin paused, for keys (space: pause, t: one tick, m: one message, f and b: 5 s on and back, + and -: rate, q: end).
    `wait_s`: the longest to wait for a reader of each topic. `domain` < 0: ROS_DOMAIN_ID. `network` as in `run.network`.
    """

    namespace: str = "/replay"
    start_s: float = 0.0
    end_s: float = 0.0
    rate: float = 1.0
    loop: bool = False
    step: bool = False
    wait_s: float = 2.0
    domain: int = -1
    network: str = ""

    def __post_init__(self) -> None:
        _at_least("playback", self, 0.0, "start_s", "end_s", "wait_s")
        _at_least("playback", self, 0.001, "rate")
        if not NAMESPACE.fullmatch(self.namespace):
            raise ConfigError(f"playback.namespace: found {self.namespace!r}, allowed '' or a name like /replay")
        if self.end_s and self.end_s <= self.start_s:
            raise ConfigError(f"playback.end_s: found {self.end_s}, allowed 0 (the end) or more than start_s={self.start_s}")


@dataclass(frozen=True)
class Playback:
    """What the player is to do: `logs` are the folders, played in this order."""

    logs: list[str] = field(default_factory=list)
    settings: PlaybackSettings = field(default_factory=PlaybackSettings)
