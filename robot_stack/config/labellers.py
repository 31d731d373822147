"""The settings of the labellers that learn or look at the whole dataset, part of what `robot-stack relabel` may be told."""

from dataclasses import dataclass, field

from robot_stack.config.bounds import at_least
from robot_stack.config.offline import CriticSettings
from robot_stack.errors import ConfigError

SOURCES = ("state", "pictures")


@dataclass(frozen=True)
class ActionsSettings:
    """SSORL's inverse dynamics: it sees `past` k earlier transitions; `depth` layers of `width`; Adam, `lr`, `steps` of `batch`.

    `validation`: the share of labelled rows that choose the weights. `withhold`: the share of labelled episodes whose actions
    are withheld, for the error that is reported. `source`: from "state", or from "pictures" alone; pictures are shrunk to
    `pixels` a side and become `components` numbers by principal components, learned on all episodes, labelled or not.
    """

    past: int = 1
    width: int = 256
    depth: int = 2
    dropout: float = 0.1
    lr: float = 1e-3
    batch: int = 256
    steps: int = 2000
    validation: float = 0.1
    withhold: float = 0.2
    seed: int = 0
    source: str = "state"
    pixels: int = 24
    components: int = 48

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ConfigError(f"actions.source: found {self.source!r}, allowed {', '.join(SOURCES)}")
        at_least("actions", self, 1, "width", "depth", "batch", "steps", "pixels", "components")
        at_least("actions", self, 0, "past")
        for name in ("dropout", "validation", "withhold"):
            if not 0.0 <= (share := getattr(self, name)) < 1.0:
                raise ConfigError(f"actions.{name}: found {share}, allowed 0 up to 1")


@dataclass(frozen=True)
class QualitySettings:
    """Episodes nearer than `near` standard deviations are near-duplicates. The last `holdout` are those that training holds out:
    what of them also stands in the others has leaked. `g_min`, `g_max`: returns of a random and of the best known policy, where
    there are rewards (equal: the least and the largest of the data). `page`: where the page goes; empty: none."""

    near: float = 0.1
    holdout: int = 4
    g_min: float = 0.0
    g_max: float = 0.0
    page: str = ""
    seed: int = 0


@dataclass(frozen=True)
class AugmentSettings:
    """`copies` of each episode, turned about the base by up to `turn` rad and moved by up to `move` m, kept where the
    object still comes to its place, `place` m beside it at most. `noise` on states, in their standard deviations. `robot`: its
    name or file, where the episodes do not say."""

    copies: int = 2
    turn: float = 0.15
    move: float = 0.03
    place: float = 0.03
    noise: float = 0.02
    robot: str = ""
    seed: int = 0


@dataclass(frozen=True)
class HardCasesSettings:
    """`unfamiliar`: this share of all decisions, those with the lowest pseudo-counts, is called unfamiliar. Moments less than
    `gap` s apart are one."""

    unfamiliar: float = 0.01
    gap: float = 0.5


@dataclass(frozen=True)
class CriticLabelSettings:
    """`checkpoint`: of a policy, whose encoder says what a state is; `out`: where the critic goes ("": nowhere); `learn`: how."""

    checkpoint: str = "runs/train"
    out: str = ""
    learn: CriticSettings = field(default_factory=CriticSettings)
