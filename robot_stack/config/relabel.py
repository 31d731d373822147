"""What `robot-stack relabel` may be told: plain keys, and one group of settings for each labeller, called like it."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from robot_stack.config.labellers import (
    ActionsSettings,
    AugmentSettings,
    CriticLabelSettings,
    HardCasesSettings,
    QualitySettings,
)
from robot_stack.errors import ConfigError

WEIGHTS_BY = ("return", "advantage", "value", "togo", "critic")
SUCCESS_BY = ("auto", "mark", "column", "detector")
RATERS = ("rule", "browser", "model")
GOALS = ("last", "future")
CONSTRAINTS = ("limits", "workspace", "keep_out", "contact", "detector")
"""What `relabel.margins` works out."""


@dataclass(frozen=True)
class InterventionSettings:
    """The last `window` s before a person takes over are pre-intervention (Sirius: 15 steps at 20 Hz). In the weighted data
    interventions have the share `intervention`, what led to them `pre`, demonstrations keep theirs, the robot has the rest."""

    window: float = 0.75
    intervention: float = 0.5
    pre: float = 0.002


@dataclass(frozen=True)
class WeightSettings:
    """`by` return or advantage: whole episodes, by how much `reward` (a column, or a number said once of an episode) they earned;
    value: single steps, by their advantage over the column `value`; togo: single steps, by what was earned from there on; critic:
    single steps, by the column `advantage` (`relabel critic`).
    `alpha`: how soft (0.1; 1: nearly alike); `beta`: how sharp."""

    by: str = "return"
    reward: str = "success"
    value: str = "value"
    advantage: str = "advantage"
    alpha: float = 0.1
    beta: float = 3.0
    discount: float = 1.0

    def __post_init__(self) -> None:
        if self.by not in WEIGHTS_BY or not self.alpha > 0:
            allowed = f"by one of {', '.join(WEIGHTS_BY)}, alpha > 0"
            raise ConfigError(f"weights: found by {self.by!r}, alpha {self.alpha}; allowed {allowed}")


@dataclass(frozen=True)
class ValueSettings:
    """A value is `discount` to the power of the steps to the goal; `expectile`: 0.5 what was usual, towards 1 the best seen.
    Fitted to `pairs` of states of each episode, with `features` random ones."""

    discount: float = 0.98
    expectile: float = 0.8
    pairs: int = 128
    features: int = 256
    ridge: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0.0 < self.discount < 1.0 and 0.0 < self.expectile < 1.0):
            raise ConfigError(f"values: found discount {self.discount}, expectile {self.expectile}; allowed between 0 and 1")


@dataclass(frozen=True)
class MarginSettings:
    """`of` which constraints h is the least: limits, workspace, keep_out, contact, detector; clipped at `most` (m). `robot`: its
    name or file, where the dataset does not say ("")."""

    robot: str = ""
    of: list[str] = field(default_factory=lambda: ["keep_out"])
    most: float = 0.15

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.of) - set(CONSTRAINTS)):
            raise ConfigError(f"margins.of: found {', '.join(unknown)}, allowed {', '.join(CONSTRAINTS)}")


@dataclass(frozen=True)
class RewardSettings:
    """`by`: mark (what a person said while it was recorded), column (`next.success` and the like), detector (the last picture),
    or auto: the first of them that knows. Detector: in the last picture of `camera`, fixed to the world, one of `objects`, known
    by its hue (`hues`, 0..179), lies within `radius` m of the middle of what has the hue `goal`, both on the table; the first of
    them is the task's. `span`: half a range of hues; `height` m of an object's middle. `robot`: where the dataset does not say
    ("")."""

    by: str = "auto"
    camera: str = "scene"
    objects: list[str] = field(default_factory=lambda: ["yellow", "violet"])
    hues: list[int] = field(default_factory=lambda: [26, 137])
    goal: int = 64
    span: int = 10
    radius: float = 0.06
    height: float = 0.018
    robot: str = ""

    def __post_init__(self) -> None:
        if len(self.objects) != len(self.hues):
            raise ConfigError(f"rewards.hues: found {len(self.hues)}, allowed one for each of {', '.join(self.objects)}")
        if self.by not in SUCCESS_BY:
            raise ConfigError(f"rewards.by: found {self.by!r}, allowed {', '.join(SUCCESS_BY)}")


@dataclass(frozen=True)
class PreferenceSettings:
    """`pairs` of clips of `seconds` are shown to the `rater`: rule (more of the column or number `prefer`), browser (a person, on
    a page of this computer at `port`, 0: any free one), or model (a vision-language model behind the OpenAI-compatible `url`,
    waited for `timeout` s). `question` is asked of each. The reward is linear in `features` random ones; `models` of an ensemble
    differ in which answers they saw. `pictures` of each clip from `camera` ("": the first)."""

    rater: str = "rule"
    prefer: str = "success"
    pairs: int = 20
    seconds: float = 3.0
    question: str = "Which clip is nearer to doing the task?"
    camera: str = ""
    pictures: int = 4
    port: int = 0
    url: str = "http://127.0.0.1:8000/v1"
    model: str = "default"
    timeout: float = 30.0
    models: int = 5
    features: int = 64
    ridge: float = 0.1
    candidates: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rater not in RATERS:
            raise ConfigError(f"preferences.rater: found {self.rater!r}, allowed {', '.join(RATERS)}")


@dataclass(frozen=True)
class HindsightSettings:
    """`goal`: what is taken for an episode's goal, last (where it ended) or future (where it was a while later, drawn for each
    step up to `horizon` s ahead; 0: to the end), within `reached` rad (m) of it. `instruction`: a sentence about what was done,
    with {labels} of the episode in it; an episode of which one of them is empty keeps its task."""

    goal: str = "last"
    horizon: float = 0.0
    reached: float = 0.05
    instruction: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise ConfigError(f"hindsight.goal: found {self.goal!r}, allowed {', '.join(GOALS)}")


@dataclass(frozen=True)
class RelabelCommand:
    """Run `labellers` on `dataset` (a folder of logs, or any dataset the catalogue knows), one after the other.

    Their labels lie beside it and every reader sees them; `undo`: the name of a run (0003-weights) that is taken back instead.
    `why` is kept. `rate_hz`: rows a second of logs, 0: one for each tick. `ray`: "local" or a cluster's address; empty: this
    process.
    """

    dataset: str = MISSING
    labellers: str = ""
    undo: str = ""
    why: str = ""
    rate_hz: float = 30.0
    ray: str = ""
    interventions: InterventionSettings = field(default_factory=InterventionSettings)
    rewards: RewardSettings = field(default_factory=RewardSettings)
    preferences: PreferenceSettings = field(default_factory=PreferenceSettings)
    values: ValueSettings = field(default_factory=ValueSettings)
    margins: MarginSettings = field(default_factory=MarginSettings)
    critic: CriticLabelSettings = field(default_factory=CriticLabelSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    hindsight: HindsightSettings = field(default_factory=HindsightSettings)
    actions: ActionsSettings = field(default_factory=ActionsSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    hard_cases: HardCasesSettings = field(default_factory=HardCasesSettings)
