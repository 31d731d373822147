"""Recorded moments, and what a policy says to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.bundle import Manifest
from policies.recorded import chunks, observation_at
from robot_stack.data.episode import Episode
from robot_stack.errors import DataError
from robot_stack.types import Array, Candidates, Observation


class Sampler(Protocol):
    """What the gate needs of a policy. `policies.onnx_policy.OnnxPolicy` is one; another way to run a bundle may be tried too."""

    manifest: Manifest
    joint_names: tuple[str, ...]
    cameras: tuple[str, ...]

    def sample(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> Candidates:
        """All N candidates."""
        ...


@dataclass(frozen=True, slots=True)
class Spot:
    """One recorded moment: the observation, the sample before it, the one a policy period later, the commands after it (T, J)."""

    episode: str
    t_s: float
    now: Observation
    before: Observation
    later: Observation
    recorded: Array


def spots(episodes: Sequence[Episode], manifest: Manifest, number: int, period_s: float) -> list[Spot]:
    """`number` moments spread evenly over `episodes`. Raises DataError when no episode is longer than a policy period."""
    places = []
    for episode in episodes:
        ahead = max(1, round(period_s * episode.rate_hz))
        places += [(episode, i, i + ahead) for i in range(len(episode) - ahead)]
    if not places:
        raise DataError(f"logs: found {len(episodes)} episodes, none longer than {period_s} s, allowed at least one that is")
    recorded = {id(e): chunks(e, manifest.rows, manifest.rate_hz) for e in episodes}
    chosen = [places[k] for k in np.linspace(0, len(places) - 1, min(number, len(places))).astype(int)]
    return [
        Spot(
            e.name,
            i / e.rate_hz,
            now=observation_at(e, i),
            before=observation_at(e, max(i - 1, 0)),
            later=observation_at(e, j),
            recorded=recorded[id(e)][i],
        )
        for e, i, j in chosen
    ]


def mean_chunks(policy: Sampler, seen: Sequence[Observation]) -> Array:
    """The mean of the N candidates at each observation: (n, T, J)."""
    return np.stack([policy.sample(observation).actions.mean(axis=0) for observation in seen])


def settled_chunks(policy: Sampler, at: Sequence[Spot]) -> Array:
    """The same at each moment of `at`, shown right after the one before it, as on the robot: what is late there is late here."""
    found = []
    for spot in at:
        policy.sample(spot.before)
        found.append(policy.sample(spot.now).actions.mean(axis=0))
    return np.stack(found)
