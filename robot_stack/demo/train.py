"""What the demo learns from its logs: the barrier, the policy with its selector, the monitor. Each is files a node can load."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from policies.train import train_policy
from robot_stack.config.schema import MonitorSettings, PolicySettings, TacoSettings, TaskSettings, TrainSettings, VocbfSettings
from robot_stack.data.episode import Episode
from robot_stack.data.from_log import episode_from_log
from robot_stack.data.log import read_log
from robot_stack.data.wire import ChoiceNote
from robot_stack.errors import DataError
from robot_stack.learn import bundle_of, log_folders
from robot_stack.robot import RobotSpec
from robot_stack.types import Array
from safety.hindsight import join, place_obstacles, transitions, wander
from safety.monitor import Familiarity
from safety.monitor_training import calibrate_counts, train_monitor
from safety.vocbf import barrier_values, train_vocbf


def read_episodes(folders: Sequence[Path], rate_hz: float, cameras: tuple[str, ...]) -> list[Episode]:
    """All logs at or below `folders`, in the order of their names, sampled at `rate_hz`, with the pictures of `cameras`."""
    return [episode for folder in folders for episode in _episodes(folder, rate_hz, cameras)]


@cache
def _episodes(folder: Path, rate_hz: float, cameras: tuple[str, ...]) -> tuple[Episode, ...]:
    logs = tqdm(log_folders(folder), desc=f"reading {folder.name}", unit="log")
    return tuple(episode_from_log(read_log(path), rate_hz, cameras) for path in logs)


def nearest_hazard(episode: Episode) -> Array:
    """Where the perceived obstacle was at each sample (n, 3) m; before it was first seen, where it was seen first.

    Raises DataError when it never was: nothing can be learned about an obstacle from such a log.
    """
    p = np.asarray(episode.columns["hazard_p"])[:, 0]
    known = np.flatnonzero(np.isfinite(p).all(axis=1))
    if known.size == 0:
        raise DataError(
            f"{episode.name}: found no perceived hazard in {len(p)} samples, allowed a log with /monitor/hazards; "
            "leave the log out, or record it again with the obstacle in sight of the detector's camera"
        )
    return np.asarray(p[np.maximum(np.arange(len(p)), known[0])])


@dataclass(frozen=True)
class Cell:
    """The robot and its task, as far as learning needs them."""

    spec: RobotSpec
    task: TaskSettings

    @property
    def cameras(self) -> tuple[str, ...]:
        """All cameras of the robot."""
        return tuple(camera.name for camera in self.spec.cameras)


def learn_barrier(cell: Cell, logs: Sequence[Path], settings: VocbfSettings, seed: int, out: Path) -> Path:
    """A V-OCBF from logged motion: as it was, past hindsight obstacles, and branched off (see `safety.hindsight`)."""
    episodes = [e for e in read_episodes(logs, 1.0 / settings.dt, ()) if len(e) > 2]
    radius, height = cell.task.obstacle_radius, cell.task.obstacle_height
    motions = [episode.q for episode in episodes]
    logged = [
        transitions(episode.q, nearest_hazard(episode), radius, cell.spec, settings, i) for i, episode in enumerate(episodes)
    ]
    every = [*motions, *wander(motions, cell.spec, settings, seed)]
    placed = place_obstacles(every, (height - 0.01, height + 0.01), radius, cell.spec, settings, seed, every=len(motions))
    return train_vocbf(join([*logged, placed]), out, settings, seed)


def learn_policy(cell: Cell, logs: Sequence[Path], policy: PolicySettings, train: TrainSettings, out: Path) -> Path:
    """The flow policy, trained on all demonstrations but the last `train.holdout`."""
    return train_policy(read_episodes(logs, policy.rate_hz / 2, cell.cameras), policy, train, out)


def export(cell: Cell, logs: Sequence[Path], checkpoint: Path, policy: PolicySettings, taco: TacoSettings, out: Path) -> Path:
    """The policy with its selector as one bundle."""
    return bundle_of(checkpoint, read_episodes(logs, policy.rate_hz / 2, cell.cameras), taco, out)


def learn_monitor(cell: Cell, logs: Sequence[Path], barrier: Path, settings: MonitorSettings, seed: int, out: Path) -> Path:
    """The failure monitor: pictures of all logs, labelled failing where the barrier's value is below its level."""
    episodes = read_episodes(logs, settings.train_rate_hz, cell.cameras)
    states = [np.hstack([episode.q[:, :-1], nearest_hazard(episode)]) for episode in episodes]
    values, level = barrier_values(barrier, np.concatenate(states))
    pictures = {camera: np.concatenate([episode.images[camera] for episode in episodes]) for camera in cell.cameras}
    groups = np.concatenate([np.full(len(episode), i) for i, episode in enumerate(episodes)])
    return train_monitor(pictures, values < level, out, settings, seed, groups)


def calibrate_monitor(logs: Sequence[Path], monitor: Path) -> Familiarity:
    """The level of the counts the policy chose in `logs` (nominal episodes that succeeded), into the card in `monitor`.

    Raises DataError on too few episodes or one without a selector, PolicyError when `monitor` holds no monitor.
    """
    return calibrate_counts(monitor, [chosen_counts(path) for folder in logs for path in log_folders(folder)])


def chosen_counts(log: Path) -> Array:
    """The pseudo-counts (n,) of the chunks chosen in an episode, in order; empty where no selector chose."""
    notes = [value for _, _, value in read_log(log).iterate({"/policy/choice"}) if isinstance(value, ChoiceNote)]
    return np.array([note.counts[note.winner] for note in notes if note.counts is not None])
