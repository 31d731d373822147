"""What `robot-stack validate` demands of a bundle before it may replace another."""

from dataclasses import dataclass, field

from robot_stack.config.bounds import at_least as _at_least
from robot_stack.errors import ConfigError


@dataclass(frozen=True)
class GateSettings:
    """Evidence and limits. `observations` recorded ones, spread over the last `episodes` logs.

    Re-simulation, in `processes`: up to `pairs` pairs of episodes in all (0: none), as many under each condition of the suite,
    on seeds from `seed` on, in rounds of about `least`. It stops as soon as the bundle is worse somewhere, or on the whole not
    worse by `margin` of success, with an error of at most `alpha` over all looks. `played_again`: so many of its worst episodes
    are recorded. `reward`: the column of rewards in the logs for an off-policy estimate ("": none), `state`: columns beside the
    joints that the future depends on. A ratio of `worse` in error on recordings, of `rough` in seam or jerk, or of `slow` in
    latency (and `slow_least_s` more) asks for a person. `early`: stop at the first rule that rejects.
    """

    observations: int = 32
    episodes: int = 8
    pairs: int = 100
    least: int = 10
    seed: int = 5_000
    processes: int = 2
    alpha: float = 0.05
    margin: float = 0.1
    worse: float = 1.15
    rough: float = 2.0
    slow: float = 1.5
    slow_least_s: float = 0.005
    period_s: float = 0.2
    camera_hz: float = 15.0
    early: bool = True
    played_again: int = 3
    reward: str = ""
    state: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _at_least("gate", self, 1, "observations", "episodes", "least", "processes")
        _at_least("gate", self, 0, "pairs", "seed", "played_again")
        _at_least("gate", self, 1.0, "worse", "rough", "slow")
        _at_least("gate", self, 1e-9, "period_s", "camera_hz", "margin", "alpha")
        if not self.alpha < 1.0 or not self.margin < 1.0:
            raise ConfigError(f"gate.alpha, gate.margin: found {self.alpha}, {self.margin}, allowed below 1")
