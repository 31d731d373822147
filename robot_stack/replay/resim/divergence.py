"""How far a re-simulated motion is from the recorded one, over time: per joint, per place of an object, and in its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What moved: joints `q` (n, J) rad or m and the places of points, by name (n, 3) m, at the times `t_s` (n,).

    `reached`: what counts for success, by name (a door's angle, ...), its largest value; `success` None: nobody can tell.
    """

    name: str
    t_s: Array
    joint_names: tuple[str, ...]
    q: Array
    places: Mapping[str, Array] = field(default_factory=dict)
    success: bool | None = None
    reached: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        allowed = (len(self.t_s), len(self.joint_names))
        if self.q.shape != allowed:
            raise ContractError(f"motion {self.name}: found q {self.q.shape}, allowed {allowed}")
        for name, place in self.places.items():
            if place.shape != (len(self.t_s), 3):
                raise ContractError(f"motion {self.name}: found {name} {place.shape}, allowed {(len(self.t_s), 3)}")


@dataclass(frozen=True, slots=True, eq=False)
class Divergence:
    """|simulated - recorded| at the times `t_s` (n,): of joints (n, J) rad or m, of places, by name (n,) m."""

    recorded: Motion
    simulated: Motion
    joints: Array
    places: Mapping[str, Array]

    @property
    def t_s(self) -> Array:
        """Seconds since the recording began, (n,)."""
        return np.asarray(self.recorded.t_s - self.recorded.t_s[0])

    @property
    def rms(self) -> float:
        """Root mean square over time and joints, rad or m."""
        return float(np.sqrt(np.mean(self.joints**2)))

    @property
    def worst(self) -> float:
        """The largest of all joints and times, rad or m."""
        return float(self.joints.max())

    def by_joint(self) -> dict[str, float]:
        """Root mean square over time of each joint, rad or m."""
        return dict(zip(self.recorded.joint_names, np.sqrt(np.mean(self.joints**2, axis=0)).tolist(), strict=True))

    def at(self, shares: Sequence[float]) -> list[float]:
        """Root mean square over joints at those shares (0..1) of the recording's length, rad or m."""
        rows = [round(share * (len(self.joints) - 1)) for share in shares]
        return [float(np.sqrt(np.mean(self.joints[row] ** 2))) for row in rows]

    def as_dict(self) -> dict[str, object]:
        """The figures as plain values for JSON."""
        return {
            "name": self.recorded.name,
            "samples": len(self.joints),
            "rms": self.rms,
            "worst": self.worst,
            "by_joint": self.by_joint(),
            "places_rms": {name: float(np.sqrt(np.mean(d**2))) for name, d in self.places.items()},
            "places_worst": {name: float(d.max()) for name, d in self.places.items()},
            "places_end": {name: float(d[-1]) for name, d in self.places.items()},
            "success": {"recorded": self.recorded.success, "simulated": self.simulated.success},
            "reached": {"recorded": dict(self.recorded.reached), "simulated": dict(self.simulated.reached)},
        }


def divergence(recorded: Motion, simulated: Motion) -> Divergence:
    """How far `simulated` is from `recorded`, sample by sample. Raises ContractError unless both have the same samples.

    An angle that turned once more is far away: joints are compared as numbers. A simulation that blew up counts as inf.
    """
    if recorded.joint_names != simulated.joint_names or len(recorded.t_s) != len(simulated.t_s):
        raise ContractError(
            f"divergence of {recorded.name}: found {len(simulated.t_s)} samples of {list(simulated.joint_names)}, "
            f"allowed {len(recorded.t_s)} of {list(recorded.joint_names)}"
        )
    joints = np.nan_to_num(np.abs(simulated.q - recorded.q), nan=np.inf, posinf=np.inf)
    shared = [name for name in recorded.places if name in simulated.places]
    places = {name: np.linalg.norm(simulated.places[name] - recorded.places[name], axis=1) for name in shared}
    return Divergence(recorded, simulated, joints, places)


def table(found: Sequence[Divergence], unit: str = "rad") -> str:
    """One line a recording: how the joints diverge over its length, the places at its end, and the outcome of both."""
    shares = (0.1, 0.25, 0.5, 0.75, 1.0)
    names = list(found[0].places) if found else []
    head = "".join(f"{f'{share:.0%}':>9}" for share in shares) + "".join(f"{name + ' m':>12}" for name in names)
    lines = [f"{'recording':<18}{'rms':>9}{'worst':>9}{head}  success   (joints {unit}, rms over joints; places at the end)"]
    for one in found:
        figures = [one.rms, one.worst, *one.at(shares)]
        ends = "".join(f"{one.places[name][-1]:>12.4f}" for name in names)
        outcome = f"{_said(one.recorded.success)} -> {_said(one.simulated.success)}"
        lines.append(f"{one.recorded.name[:17]:<18}" + "".join(f"{v:>9.2g}" for v in figures) + f"{ends}  {outcome}")
    return "\n".join(lines)


def _said(success: bool | None) -> str:
    return "?" if success is None else "yes" if success else "no"
