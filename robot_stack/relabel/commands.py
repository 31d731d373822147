"""`robot-stack relabel LABELLER... dataset=...`: one run of each, in that order; later ones see earlier ones' labels."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_stack.errors import ConfigError

if TYPE_CHECKING:
    from robot_stack.config.relabel import RelabelCommand
    from robot_stack.relabel.labeller import Labeller

LABELLERS: dict[str, Callable[["RelabelCommand"], Any]] = {
    "interventions": lambda settings: settings.interventions,
    "rewards": lambda settings: settings.rewards,
    "preferences": lambda settings: settings.preferences,
    "values": lambda settings: settings.values,
    "margins": lambda settings: settings.margins,
    "critic": lambda settings: settings.critic,
    "weights": lambda settings: settings.weights,
    "hindsight": lambda settings: settings.hindsight,
    "actions": lambda settings: settings.actions,
    "quality": lambda settings: settings.quality,
    "augment": lambda settings: settings.augment,
    "hard_cases": lambda settings: settings.hard_cases,
}
"""Each is a module of this package; here is which settings are its own."""

EXIT_FAULTS = 1
"""Some episodes are missing or damaged; they were named, and the rest is done."""


def main(settings: "RelabelCommand") -> int:
    """What the command does; the exit code. Raises ConfigError on a labeller that does not exist."""
    from robot_stack.relabel.runs import Job, relabel, undo

    root, faults = Path(settings.dataset), 0
    if settings.undo:
        print(undo(root, settings.undo))
        return 0
    for labeller in [labeller_of(name) for name in settings.labellers.split(os.pathsep)]:
        run = relabel(Job(root, settings.rate_hz, labeller, LABELLERS[labeller.name](settings)), settings.why, settings.ray)
        print(run, flush=True)
        faults += len(run.faults)
    return EXIT_FAULTS if faults else 0


def labeller_of(name: str) -> "Labeller":
    """The labeller called `name`. Raises ConfigError, listing those there are."""
    if name not in LABELLERS:
        raise ConfigError(f"relabel: found {name or 'no labeller'!r}, allowed {', '.join(LABELLERS)}")
    labeller: Labeller = importlib.import_module(f"robot_stack.relabel.{name}").LABELLER
    return labeller
