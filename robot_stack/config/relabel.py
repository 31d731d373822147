"""What `robot-stack relabel` may be told: plain keys, and one group of settings for each labeller, called like it."""

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass(frozen=True)
class InterventionSettings:
    """The last `window` s before a person takes over are pre-intervention (Sirius: 15 steps at 20 Hz). In the weighted data
    interventions have the share `intervention`, what led to them `pre`, demonstrations keep theirs, the robot has the rest."""

    window: float = 0.75
    intervention: float = 0.5
    pre: float = 0.002


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
