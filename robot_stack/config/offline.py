"""The settings of what is learned from rewards: critics of chunks, and the selector that ranks by them."""

from dataclasses import dataclass, field

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError


@dataclass(frozen=True)
class CriticSettings:
    """Q and V of chunks (`policies/riql.py`). `reward`: a column, or a number said once of an episode, earned at its last step.

    `discount` gamma a row of the chunk; a chunk counts by its `modes` lowest cosine modes. V is the upper `expectile` tau of Q,
    Q the `quantile` alpha of `critics` networks of `width`, fitted with Huber's loss that is linear beyond `huber` (0: squared).
    IQL: critics=2 quantile=0 huber=0. Adam `lr`, `steps` of `batch`; `polyak` share of the target a step. `holdout`: the share
    of episodes that only judge; every `check_every` steps the critic is looked at, and the best of those is kept (`workflow.py`).
    """

    reward: str = "success"
    discount: float = 0.99
    modes: int = 6
    expectile: float = 0.8
    critics: int = 5
    quantile: float = 0.25
    huber: float = 1.0
    width: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-4
    batch: int = 256
    steps: int = 3000
    polyak: float = 0.01
    holdout: float = 0.2
    check_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("critic", self, 1, "modes", "critics", "width", "batch", "steps", "check_every")
        at_least("critic", self, 0.0, "quantile", "huber", "holdout", "weight_decay")
        for name in ("discount", "expectile", "polyak"):
            if not 0.0 < (value := getattr(self, name)) <= 1.0:
                raise ConfigError(f"critic.{name}: found {value}, allowed more than 0, up to 1")
        if not (self.quantile <= 1.0 and self.holdout < 1.0):
            found = f"quantile {self.quantile}, holdout {self.holdout}"
            raise ConfigError(f"critic: found {found}; allowed quantile up to 1, holdout less than 1")


@dataclass(frozen=True)
class QRankSettings:
    """The selector that ranks candidates by Q. Before that each is improved by `steps` along the gradient of Q, together at most
    `bound` (a distance in standardised modes); `edit` > 0: and by an edit policy, at most so far a mode."""

    critic: CriticSettings = field(default_factory=CriticSettings)
    steps: int = 5
    bound: float = 0.5
    edit: float = 0.0

    def __post_init__(self) -> None:
        at_least("q_rank", self, 0, "steps", "bound", "edit")
