"""What `robot-stack data VERB` may be told: one dataclass a verb."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from robot_stack.config.collect import QualitySettings
from robot_stack.errors import ConfigError


@dataclass(frozen=True)
class DataLsCommand:
    """List the episodes of the dataset at `path`. `rate_hz`: rows a second of logs and bags, 0: one for each tick."""

    path: str = MISSING
    rate_hz: float = 30.0


@dataclass(frozen=True)
class DataInfoCommand:
    """What the dataset at `path` is. `check` reads every number and counts the pictures of every video; `statistics` says least,
    greatest, mean and deviation of each column. `ray`: "local" or a cluster's address; empty: this process."""

    path: str = MISSING
    rate_hz: float = 30.0
    check: bool = False
    statistics: bool = False
    ray: str = ""


@dataclass(frozen=True)
class DataShowCommand:
    """One HTML page of `episodes` (none: the first `limit`) of the dataset at `path`; `rerun` opens them in Rerun instead."""

    path: str = MISSING
    out: str = "runs/data.html"
    episodes: list[str] = field(default_factory=list)
    limit: int = 20
    thumbnails: int = 8
    rate_hz: float = 30.0
    rerun: bool = False


@dataclass(frozen=True)
class DataHardCommand:
    """The `limit` rarest moments of all logs at or below `path`: unfamiliar decisions (the share `unfamiliar` of all with the
    lowest pseudo-counts), interventions of the filter, alarms of the monitor; `out`: as a page too."""

    path: str = MISSING
    limit: int = 20
    out: str = ""
    unfamiliar: float = 0.01
    thumbnails: int = 6
    rate_hz: float = 10.0


@dataclass(frozen=True)
class DataConvertCommand:
    """Write the dataset at `path` to the new `out`, as `to`: lerobot-v3, lerobot-v2.1, robomimic or log.

    `codec`, h264 or av1: for pictures that are not in a video yet; videos are copied packet by packet. `rate_hz`: rows a second
    of logs and bags, 0: one for each tick. `ray`: "local" or a cluster's address; empty: this process.
    """

    path: str = MISSING
    out: str = MISSING
    to: str = "lerobot-v3"
    codec: str = "h264"
    rate_hz: float = 30.0
    ray: str = ""


@dataclass(frozen=True)
class DataEditCommand:
    """Add one edit to the dataset at `path`: `do` is delete, trim, split, merge, rename, retask or subsample, of `episodes`.

    trim keeps `start`..`stop` (s; 0: the end), split cuts at `start`, rename gives `name`, retask `instruction`; subsample
    keeps every `stride`-th row, merge adds the episodes of the dataset `other`. `all` stands for every episode. `why` is kept.
    """

    path: str = MISSING
    do: str = MISSING
    episodes: list[str] = field(default_factory=list)
    all: bool = False
    start: float = 0.0
    stop: float = 0.0
    name: str = ""
    instruction: str = ""
    stride: int = 1
    other: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.all and self.episodes:
            raise ConfigError(f"episodes: found {len(self.episodes)} and all=true, allowed one of the two")


@dataclass(frozen=True)
class DataUndoCommand:
    """Take back the last edit of the dataset at `path`."""

    path: str = MISSING


@dataclass(frozen=True)
class DataGcCommand:
    """Make the edits of the dataset at `path` final: what no edit left over is deleted from the disk. `yes` says that it may."""

    path: str = MISSING
    yes: bool = False


@dataclass(frozen=True)
class DataCheckCommand:
    """Look through the episode logs at `path` with the eyes of the quality gate; findings are written beside each log.

    `robot` "": the one each log was recorded with.
    """

    path: str = MISSING
    robot: str = ""
    quality: QualitySettings = field(default_factory=QualitySettings)


@dataclass(frozen=True)
class DataRepairCommand:
    """Write what can be read of the cut or damaged log or bag at `path` as a whole one to the new folder `out`."""

    path: str = MISSING
    out: str = MISSING
