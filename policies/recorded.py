"""Recorded episodes seen as a policy sees the world: observations, and the chunk the demonstrator had in mind at each of them."""

import hashlib
from collections.abc import Sequence

import numpy as np

from robot_stack.clock import nanoseconds
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import Array, CameraFrame, JointState, Observation


def velocities(episode: Episode) -> Array:
    """Joint speeds (n, J), rad/s, by backward difference of the measured joints: only the past is used, the first row is zero."""
    return np.diff(episode.q, axis=0, prepend=episode.q[:1]) * episode.rate_hz


def spread(episodes: Sequence[Episode], most: int) -> list[tuple[Episode, int]]:
    """Up to `most` samples of `episodes`, evenly over all of them: episode and index."""
    spots = [(episode, i) for episode in episodes for i in range(len(episode))]
    return [spots[k] for k in np.linspace(0, len(spots) - 1, min(most, len(spots))).astype(int)]


def chunks(episode: Episode, rows: int, rate_hz: float, samples: Sequence[int] | None = None) -> Array:
    """Commanded chunks (n, T, J) of all samples or of `samples`: row i of chunk t is the action at sample
    t + i * episode.rate_hz / rate_hz.

    Linear between samples. Rows past the end repeat the last action: a finished task stays finished.
    """
    last = len(episode) - 1
    first = np.arange(len(episode)) if samples is None else np.asarray(samples)
    at = first[:, None] + np.arange(rows) * (episode.rate_hz / rate_hz)
    low = np.minimum(at.astype(np.int64), last)
    high = np.minimum(low + 1, last)
    part = np.where(low < last, at - low, 0.0)[..., None]
    whole: Array = (1.0 - part) * episode.action[low] + part * episode.action[high]
    return whole


def whole_chunks(episode: Episode, rows: int, rate_hz: float) -> int:
    """How many samples, from the first on, have a chunk of `rows` that ends inside the episode."""
    return max(0, len(episode) - int(np.ceil((rows - 1) * episode.rate_hz / rate_hz)))


def observation_at(episode: Episode, index: int) -> Observation:
    """The observation of sample `index`, as observe() would have made it; time 0 is the first sample."""
    t_ns = nanoseconds(index / episode.rate_hz)
    frames = {name: CameraFrame(name, t_ns, images[index]) for name, images in episode.images.items()}
    before = episode.q[max(index - 1, 0)]
    joints = JointState(t_ns, episode.q[index], (episode.q[index] - before) * episode.rate_hz)
    return Observation(t_ns, frames, joints, episode.instruction)


def check_alike(episodes: Sequence[Episode], one_instruction: bool = True) -> None:
    """Raises PolicyError unless there is an episode and all have the joints, cameras, image sizes and rate of the first.

    And, unless told otherwise, its instruction.
    """
    if not episodes:
        raise PolicyError("episodes: found none, allowed at least 1; record some or point dataset= at a folder that has them")
    first = _kind(episodes[0])
    for episode in episodes[1:]:
        if (kind := _kind(episode))[:3] != first[:3] or (one_instruction and kind != first):
            raise PolicyError(f"episode {episode.name}: found {kind}, allowed {first} as in episode {episodes[0].name}")


def _kind(episode: Episode) -> tuple[object, ...]:
    sizes = {name: images.shape[1:3] for name, images in sorted(episode.images.items())}
    return episode.joint_names, sizes, episode.rate_hz, episode.instruction


def labelled(episodes: Sequence[Episode], name: str, setting: str) -> list[Array]:
    """The column `name` that `setting` asks for, (n,) of each episode. Raises PolicyError unless every one has it, finite."""
    for episode in episodes:
        if name not in episode.columns:
            raise PolicyError(
                f"{setting}: episode {episode.name} has no column {name!r}, allowed {', '.join(sorted(episode.columns))}; "
                "next: robot-stack relabel writes some"
            )
        if not np.isfinite(episode.columns[name]).all():
            raise PolicyError(f"{setting}: found nan or inf in {name} of episode {episode.name}, allowed finite numbers")
    return [np.asarray(episode.columns[name], np.float64).reshape(len(episode), -1)[:, 0] for episode in episodes]


def column(episodes: Sequence[Episode], name: str) -> Array:
    """The weights (M,) of all samples. Raises PolicyError unless every episode has them, finite, none below 0, not all 0."""
    found = np.concatenate(labelled(episodes, name, "train.weights"))
    if not (found.min() >= 0.0 and found.max() > 0.0):
        raise PolicyError(f"train.weights: found {name} from {found.min()} to {found.max()}, allowed 0 or more, not all 0")
    return found


def data_hash(episodes: Sequence[Episode], *columns: str) -> str:
    """sha256 (hex) of what training reads: names, joints, actions, every image byte and, where named, the `columns`."""
    digest = hashlib.sha256()
    for episode in episodes:
        digest.update(repr((episode.name, _kind(episode))).encode())
        for array in (episode.q, episode.action, *(episode.images[name] for name in sorted(episode.images))):
            digest.update(np.ascontiguousarray(array).data)
    for name in filter(None, columns):
        digest.update(np.concatenate(labelled(episodes, name, "train")).tobytes())
    return digest.hexdigest()
