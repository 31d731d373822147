"""What `robot-stack data check` may be told."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from robot_stack.config.collect import QualitySettings


@dataclass(frozen=True)
class DataCheckCommand:
    """Look through the episode logs at `path` with the eyes of the quality gate; findings are written beside each log.

    `robot` "": the one each log was recorded with.
    """

    path: str = MISSING
    robot: str = ""
    quality: QualitySettings = field(default_factory=QualitySettings)
