"""What an episode earned, step by step: by a column of it, or by a number that is said once of the whole of it."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import DataError
from robot_stack.types import Array


class Rewarded(Protocol):
    """An Episode, or a Recording."""

    @property
    def name(self) -> str:
        """What errors call it."""

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """By name, a row a step."""

    @property
    def constants(self) -> Mapping[str, Any]:
        """What is said once."""

    def __len__(self) -> int:
        """Its steps."""


def rewards(episode: Rewarded, name: str) -> Array:
    """(n,) of the column `name`; what is said once of the episode is earned at its last step. Raises DataError on no number."""
    if name in episode.columns:
        found = np.asarray(episode.columns[name], dtype=np.float64).reshape(len(episode), -1)[:, 0]
    elif name in episode.constants:
        found = np.zeros(len(episode))
        found[-1] = float(episode.constants[name])
    else:
        there = ", ".join(sorted({*episode.columns, *episode.constants}))
        raise DataError(f"episode {episode.name}: no {name}, found {there}; next: robot-stack relabel rewards")
    if not np.isfinite(found).all():
        raise DataError(f"episode {episode.name}: {name} has rows that are not finite, allowed a number in each")
    return found
