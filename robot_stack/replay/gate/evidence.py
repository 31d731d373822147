"""What the gate has found out about a bundle so far: values, judged by `rules.py`."""

from dataclasses import dataclass

from policies.bundle import Manifest
from robot_stack.config.gate import GateSettings
from robot_stack.replay.behaviour import Behaviour
from robot_stack.replay.gate.probes import Compared
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.sequential import not_worse, worse, worse_somewhere
from robot_stack.replay.verdicts import Report


@dataclass(frozen=True, slots=True)
class Paired:
    """One condition: outcomes on the same seeds, the candidate's and the other bundle's."""

    condition: str
    candidate: tuple[Outcome, ...]
    against: tuple[Outcome, ...]

    def flags(self, name: str) -> tuple[list[bool], list[bool]]:
        """`success`, `violation` or `stopped` of every episode of both."""
        one, other = (
            [o.stop_s is not None if name == "stopped" else bool(getattr(o, name)) for o in outcomes]
            for outcomes in (self.candidate, self.against)
        )
        return one, other

    def discordant(self, name: str) -> tuple[int, int]:
        """In how many pairs only the candidate, and only the other one, had it."""
        one, other = self.flags(name)
        pairs = list(zip(one, other, strict=True))
        return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)

    def harm(self, name: str, good: bool) -> tuple[int, int]:
        """In how many pairs the candidate is the worse one, and the better one, by a flag that is `good` to have or not."""
        only_candidate, only_other = self.discordant(name)
        return (only_other, only_candidate) if good else (only_candidate, only_other)


def whole(trials: tuple[Paired, ...]) -> Paired:
    """All conditions as one, round by round, which is the order `not_worse` is shown them in."""
    one, other = ([o for outcomes in zip(*(getattr(p, who) for p in trials), strict=True) for o in outcomes] for who in WHO)
    name = trials[0].condition if len(trials) == 1 else f"{len(trials)} conditions"
    return Paired(name, tuple(one), tuple(other))


WHO = ("candidate", "against")


def shown_worse(trials: tuple[Paired, ...], name: str, good: bool) -> tuple[float, Paired]:
    """The e-value that the candidate is worse by the flag `name` somewhere, and the condition that says so loudest."""
    loudest = max(trials, key=lambda pair: worse(*pair.harm(name, good)))
    return worse_somewhere([pair.harm(name, good) for pair in trials]), loudest


def shown_good(trials: tuple[Paired, ...], margin: float) -> float:
    """The e-value that success, averaged over the conditions, is less than `margin` lower."""
    return not_worse(*whole(trials).flags("success"), margin)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An off-policy estimate of both bundles' value from logs alone, with its interval of the difference candidate - other."""

    name: str
    candidate: float
    against: float
    difference: tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """All there is; what was not looked at yet is empty. `latency_s`: medians of one decision's computing, in turns;
    `latency_ratio`: the median of their ratios.

    `behaviours`: logs through the changed config. `decided`: logs through the new bundle's chunks, shown and not judged: another
    policy asks for other things. `trials`: one a condition, all of as many pairs.
    """

    settings: GateSettings
    manifests: tuple[Manifest, Manifest] | None = None
    damaged: str = ""
    compared: Compared | None = None
    verdicts: tuple[Report, ...] = ()
    behaviours: tuple[Behaviour, ...] = ()
    decided: tuple[Behaviour, ...] = ()
    latency_s: tuple[float, float] | None = None
    latency_ratio: float = 1.0
    trials: tuple[Paired, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    complete: bool = False
