"""What a labeller is made of; how to write one is told in the package's docstring."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.labels import Labels
from robot_stack.data.recording import Recording


def nothing(settings: Any) -> tuple[str, ...]:
    """Reads no labels of other runs."""
    return ()


def no_files(settings: Any) -> Mapping[str, Path]:
    """Reads nothing beside the dataset."""
    return {}


def random_of(episode: Recording, seed: int) -> np.random.Generator:
    """Draws that depend on `seed` and the episode's name alone, so not on which others there are, nor in which order."""
    return np.random.default_rng([seed, zlib.crc32(episode.name.encode())])


@dataclass(frozen=True, slots=True)
class Labeller:
    """Its functions, all at the top of a module, so that another process finds them. A new `version` labels everything anew.

    `reads(settings)`: the labels of earlier runs it wants to see; `files(settings)`: by a name, what it reads beside the dataset,
    of which the content counts, as settings do. `measure` and `gather` come together, or not at all.
    """

    name: str
    version: int
    label: Callable[[Recording, Any, Any], Labels]
    reads: Callable[[Any], Sequence[str]] = nothing
    measure: Callable[[Recording, Any], Any] | None = None
    gather: Callable[[Mapping[str, Any], Any, Catalogue], Any] | None = None
    tell: Callable[[Any], str] | None = None
    files: Callable[[Any], Mapping[str, Path]] = no_files
