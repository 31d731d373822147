"""Logged data from our own episodes, and what a bundle would have done in them.

Needed beside what every log holds: a column of rewards, by relabelling or from the simulator. Its name says what it is:

* `reward` (n,): earned by the action of that sample, used as it is.
* `progress` (n,): how far the task is, rising; its increments are the rewards, so an episode earns what it got done.
* `success` (n,): 0 until the task is done, then 1; the action that brought the first 1 earns 1 and ends the episode.

A column `log_density` (n,), ln of the density of the commands under whoever drove, opens the estimators that need densities;
without it (people, flow policies) FQE remains. The state is `q`, its speeds, and the `columns` named: it must hold what the
future depends on (object positions, for a task with objects), else every estimator but PDIS is biased.
"""

from collections.abc import Sequence

import numpy as np

from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at, velocities
from robot_stack.data.episode import Episode
from robot_stack.errors import DataError
from robot_stack.replay.ope.logged import LoggedData, LoggedEpisode, Proposals
from robot_stack.types import Array

REWARDS = ("reward", "progress", "success")


def logged_from_episodes(
    episodes: Sequence[Episode], reward: str = "success", columns: Sequence[str] = (), rows: int = 1, discount: float = 1.0
) -> LoggedData:
    """A decision is `rows` samples: the state at the first, the commands of all of them (rows * J) as the action, their reward.

    Raises DataError where a column is missing, holds NaN, or an episode is shorter than one decision and the state after it.
    """
    return LoggedData(tuple(_logged(e, reward, columns, rows) for e in episodes), discount)


def _logged(episode: Episode, reward: str, columns: Sequence[str], rows: int) -> LoggedEpisode:
    earned, done = _rewards(episode, reward)
    n = _decisions(episode, done, rows)
    last = len(episode) - 1
    inside = np.minimum(np.arange(n * rows), last)
    density = episode.columns.get("log_density")
    return LoggedEpisode(
        states=_states(episode, columns)[np.minimum(np.arange(n + 1) * rows, last)],
        actions=episode.action[inside].reshape(n, -1),
        rewards=earned[inside].reshape(n, rows).sum(axis=1),
        log_density=None if density is None else density[inside].reshape(n, rows).sum(axis=1),
        terminal=done is not None,
    )


def _decisions(episode: Episode, done: int | None, rows: int) -> int:
    """How many whole decisions fit, the state after the last included; the one that finishes the task is the last."""
    n = (len(episode) - 1) // rows if done is None else done // rows + 1
    if n < 1:
        raise DataError(
            f"episode {episode.name}: found {len(episode)} samples, {rows} a decision; allowed one decision and a sample"
        )
    return n


def _rewards(episode: Episode, name: str) -> tuple[Array, int | None]:
    """The reward of each sample's action (n,), and the sample whose action finished the task, if one did."""
    column = episode.columns.get(name)
    if name not in REWARDS or column is None or column.shape != (len(episode),):
        raise DataError(
            f"episode {episode.name}: reward {name!r}: found columns {sorted(episode.columns)}, allowed one of "
            f"{', '.join(REWARDS)} of shape ({len(episode)},); next: relabel the log with it, or take it from the simulator"
        )
    if name == "reward":
        return column.astype(np.float64), None
    if name == "progress":
        return np.diff(column, append=column[-1:]), None
    earned = np.diff(np.maximum.accumulate(column > 0.5).astype(np.float64), append=1.0 * (column > 0.5).any())
    return earned, int(earned.argmax()) if earned.any() else None


def _states(episode: Episode, columns: Sequence[str]) -> Array:
    missing = [name for name in columns if name not in episode.columns]
    if missing:
        raise DataError(f"episode {episode.name}: found no columns {missing}, allowed {sorted(episode.columns)}")
    parts = [episode.columns[name].reshape(len(episode), -1) for name in columns]
    return np.concatenate([episode.q, velocities(episode), *parts], axis=1)


def proposed_by_bundle(policy: OnnxPolicy, episodes: Sequence[Episode], data: LoggedData, rows: int = 1) -> Proposals:
    """What a bundle would have commanded in the states of `data`, made of `episodes` with the same `rows`: its N candidates.

    They are draws of the policy before its selector has chosen. No densities: FQE only. Raises DataError where the bundle's
    chunks are shorter than `rows`, or its rows are not the episodes' samples.
    """
    rate_hz, most = policy.manifest.rate_hz, policy.manifest.rows
    if rows > most or any(abs(e.rate_hz - rate_hz) > 1e-6 for e in episodes):
        found = sorted({e.rate_hz for e in episodes})
        raise DataError(f"bundle: found decisions of {rows} rows at {found} Hz, allowed at most {most} rows at {rate_hz} Hz")
    return Proposals(tuple(_drawn(policy, e, len(logged) + 1, rows) for e, logged in zip(episodes, data.episodes, strict=True)))


def _drawn(policy: OnnxPolicy, episode: Episode, decisions: int, rows: int) -> Array:
    """Actions (decisions, N, rows * J)."""
    at = np.minimum(np.arange(decisions) * rows, len(episode) - 1)
    sampled = [policy.sample(observation_at(episode, int(i))).actions[:, :rows] for i in at]
    return np.stack([chunk.reshape(len(chunk), -1) for chunk in sampled])
