"""Did the episode do its task? `success`, once of an episode, and `reward` (n,): 1 at the last step of one that did, else 0.

From, in this order: a mark that a person set while it was recorded, a column that says so, or the last picture (`on_goal.py`),
which also says what lies on the goal: `on_goal`, "" nothing. Nothing here looks at a simulator's truth: no log has it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from robot_stack.config.relabel import RewardSettings
from robot_stack.data.labels import Labels
from robot_stack.data.recording import Recording
from robot_stack.errors import DataError
from robot_stack.relabel.labeller import Labeller
from robot_stack.relabel.on_goal import on_goal

COLUMNS = ("next.success", "success", "is_success")
MARKS = {"success": True, "failure": False}


def by_mark(episode: Recording, settings: RewardSettings) -> dict[str, Any]:
    """What a person said; nothing, where nobody did."""
    mark = str(episode.constants.get("mark", ""))
    return {"success": MARKS[mark]} if mark in MARKS else {}


def by_column(episode: Recording, settings: RewardSettings) -> dict[str, Any]:
    """The last number of the first of COLUMNS there is."""
    for name in COLUMNS:
        if name in episode.columns:
            return {"success": bool(np.asarray(episode.columns[name]).reshape(len(episode), -1)[-1, 0] > 0)}
    return {}


def by_detector(episode: Recording, settings: RewardSettings) -> dict[str, Any]:
    """What lies on the goal in the last picture; nothing, where the camera is not there."""
    if settings.camera not in episode.cameras:
        return {}
    found = on_goal(episode, settings)
    return {"success": bool(settings.objects) and found == settings.objects[0], "on_goal": found}


SOURCES: dict[str, Callable[[Recording, RewardSettings], dict[str, Any]]] = {
    "mark": by_mark,
    "column": by_column,
    "detector": by_detector,
}


def label(episode: Recording, settings: RewardSettings, gathered: None) -> Labels:
    """`success`, `reward` and, from the picture, `on_goal`; what was recorded under one of these names stays what it is."""
    for source in SOURCES if settings.by == "auto" else (settings.by,):
        if said := SOURCES[source](episode, settings):
            reward = np.zeros(len(episode), dtype=np.float32)
            reward[-1] = said["success"]
            recorded = episode.columns.keys() | episode.constants.keys()
            return {name: value for name, value in {**said, "reward": reward}.items() if name not in recorded}
    raise DataError(
        f"episode {episode.name}: nothing says whether it succeeded: no mark, none of {', '.join(COLUMNS)}, no camera"
    )


LABELLER = Labeller("rewards", 1, label)
