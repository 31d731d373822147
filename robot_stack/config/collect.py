"""How demonstrations are recorded (`robot-stack record`) and when one is found wanting. Times in s."""

from dataclasses import dataclass, field

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError

CODECS = ("h264", "lossless")
PROMPTS = ("none", "beep", "speak")


@dataclass(frozen=True)
class CollectSettings:
    """The session: `count` episodes (0: as many as run.episodes, whose names are gone through again and again otherwise).

    Before each one `reset_s` are counted down; then a key starts it or, `unattended`, nothing need be pressed; keys still count.
    Keys, one letter each: `go` starts and stops, `success` and `failure` mark the episode and end it, `discard` moves the one
    being recorded, or the last one, to the trash; after a bad one `keep`, `mark` or `redo`; `quit` ends the session. A foot pedal
    is the key it sends. `prompt`: none, beep or speak (spd-say).

    `codec`: pictures as h264 (`encoder` of FFmpeg, `crf` 0..51, less is better and larger) or lossless. `pre_trigger_s` of what
    happened before an episode is started is in its log too, as far as it fits into `pre_trigger_mib`. Recording is refused with
    less than `free_mib` left on the disk.
    """

    count: int = 0
    reset_s: float = 0.0
    unattended: bool = False
    prompt: str = "none"
    go: str = " "
    success: str = "s"
    failure: str = "f"
    discard: str = "d"
    keep: str = "k"
    mark: str = "m"
    redo: str = "r"
    quit: str = "q"
    codec: str = "h264"
    encoder: str = "libx264"
    crf: int = 20
    pre_trigger_s: float = 0.0
    pre_trigger_mib: float = 256.0
    free_mib: float = 64.0

    def __post_init__(self) -> None:
        at_least("collect", self, 0.0, "count", "reset_s", "crf", "pre_trigger_s", "pre_trigger_mib", "free_mib")
        if self.codec not in CODECS or self.prompt not in PROMPTS or self.crf > 51:
            found = f"codec {self.codec}, prompt {self.prompt}, crf {self.crf}"
            raise ConfigError(f"collect: found {found}; allowed {'|'.join(CODECS)}, {'|'.join(PROMPTS)}, 0..51")
        letters = [getattr(self, name) for name in KEYS]
        if len(set(letters)) != len(letters) or any(len(letter) != 1 for letter in letters):
            raise ConfigError(f"collect: found keys {letters} for {', '.join(KEYS)}; allowed one letter each, none twice")


KEYS = ("go", "success", "failure", "discard", "keep", "mark", "redo", "quit")
"""The settings of `CollectSettings` that are keys."""


@dataclass(frozen=True)
class QualitySettings:
    """What an episode must be like. Of the time the arm was armed, but for cameras, which are looked at all along.

    A camera gives at least `rate_share` of its pictures, none later than `gap_s` after the one before, and no `frozen` of them
    in a row are the same; when it arrives, a picture is at most `skew_s` away from the newest joints (95th percentile).
    Joints stay within `tracking` rad (m) of what was commanded in the last `tracking_s` (99th percentile); at most
    `limit_share` of the time one but `free_joints` is commanded to within `limit_margin` of its range from a limit, or at its
    full speed. At least `least_s` long, and some joint moves `still` rad (m). At most `drops` messages lost.
    """

    rate_share: float = 0.9
    gap_s: float = 0.2
    frozen: int = 5
    skew_s: float = 0.15
    tracking: float = 0.15
    tracking_s: float = 0.3
    limit_share: float = 0.25
    limit_margin: float = 0.01
    free_joints: list[str] = field(default_factory=lambda: ["gripper"])
    least_s: float = 1.0
    still: float = 0.02
    drops: int = 0

    def __post_init__(self) -> None:
        at_least("quality", self, 0.0, "rate_share", "gap_s", "skew_s", "tracking", "tracking_s", "limit_share", "limit_margin")
        at_least("quality", self, 0.0, "least_s", "still", "drops")
        at_least("quality", self, 2, "frozen")
