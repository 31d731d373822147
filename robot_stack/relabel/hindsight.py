"""An episode did something, if not what it was told: goals and instructions that fit what it did.

Goals as in HER (Andrychowicz et al. 2017), over the measured joints: `goal` (n, J) is where the episode ended, or (Kaelbling's
"future") where it was at a step drawn evenly from those ahead; `goal_reward` (n,) is 0 where the next state is within `reached`
of the goal, else -1; `goal_steps` (n,) how many steps away it was. The draw depends on the seed and the episode's name alone.
`instruction`: a sentence made of what other labels say was done ("Put the {on_goal} cube on the disc."); it is the episode's task
from then on, until the run is taken back.
"""

import string

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.relabel import HindsightSettings
from robot_stack.data.labels import INSTRUCTION, Labels
from robot_stack.data.recording import STATE, Recording
from robot_stack.errors import ConfigError
from robot_stack.relabel.labeller import Labeller, random_of


def reads(settings: HindsightSettings) -> tuple[str, ...]:
    """The labels named in the sentence."""
    try:
        return tuple(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(settings.instruction) if name))
    except ValueError as error:
        raise ConfigError(f"hindsight.instruction: found {settings.instruction!r} ({error}), allowed {{label}} in it") from error


def label(episode: Recording, settings: HindsightSettings, gathered: None) -> Labels:
    """`goal`, `goal_reward`, `goal_steps` and, where every label it names says something, `instruction`."""
    q = episode.numbers(STATE)
    ahead = _ahead(episode, settings)
    goal = q[ahead]
    following = np.concatenate([q[1:], q[-1:]])
    there = np.abs(following - goal).max(axis=1) <= settings.reached
    labels: dict[str, object] = {
        "goal": goal.astype(np.float32),
        "goal_reward": np.where(there, 0.0, -1.0).astype(np.float32),
        "goal_steps": (ahead - np.arange(len(q))).astype(np.int32),
    }
    said = {name: episode.constants.get(name) for name in reads(settings)}
    if settings.instruction and all(value not in (None, "") for value in said.values()):
        labels[INSTRUCTION] = settings.instruction.format(**said)
    return labels  # type: ignore[return-value]


def _ahead(episode: Recording, settings: HindsightSettings) -> NDArray[np.int64]:
    """Which row's state is the goal of each row (n,)."""
    rows, last = np.arange(len(episode)), len(episode) - 1
    if settings.goal == "last":
        return np.full(len(episode), last)
    random = random_of(episode, settings.seed)
    farthest = (
        np.minimum(rows + round(settings.horizon * episode.rate_hz), last) if settings.horizon else np.full_like(rows, last)
    )
    return np.minimum(rows + 1 + (random.random(len(rows)) * (farthest - rows)).astype(np.int64), last)


LABELLER = Labeller("hindsight", 1, label, reads)
