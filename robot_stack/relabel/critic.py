"""How much better each recorded chunk was than what is usual there, by a critic learned from what the episodes earned (RIQL).

`advantage` (n,): Q(s_t, a_t) - V(s_t) of the chunk that begins at step t, `chunk_q` and `chunk_v` (n,) the two, in the reward's
unit. `policies/riql.py` has the maths. States are what the encoder of the policy in `critic.checkpoint` makes of pictures and
joints (`robot-stack train` writes one; cloned from the same episodes, plainly, it will do). The critic goes to `critic.out`.
`weights.by=critic` makes weights of the advantages, with which any policy is trained: `train.weights=weight`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_stack.config.labellers import CriticLabelSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.labels import Labels
from robot_stack.data.lerobot import episode_of
from robot_stack.data.recording import Recording
from robot_stack.errors import DataError, PolicyError
from robot_stack.relabel.labeller import Labeller
from robot_stack.types import Array

if TYPE_CHECKING:
    from policies.chunk_policy import ChunkPolicy
    from policies.riql import Transitions


@dataclass(frozen=True, slots=True, eq=False)
class _Gathered:
    """Q and V (n,) of each episode's steps, and what is to be told."""

    values: Mapping[str, tuple[Array, Array]]
    told: str


def reads(settings: CriticLabelSettings) -> tuple[str, ...]:
    """The reward."""
    return (settings.learn.reward,)


def files(settings: CriticLabelSettings) -> Mapping[str, Path]:
    """The policy's checkpoint."""
    from policies.checkpoint import CARD, WEIGHTS

    return {name: Path(settings.checkpoint) / name for name in (CARD, WEIGHTS)}


def measure(episode: Recording, settings: CriticLabelSettings) -> "Transitions":
    """The episode as the critic learns from it. Raises DataError where the policy cannot see it."""
    from policies.transitions import transitions_of

    try:
        written = tuple(path.stat().st_mtime_ns for path in files(settings).values() if path.is_file())
        policy = _policy(settings.checkpoint, written)
        sizes = {size for _, size in policy.shape.cameras}
        return transitions_of(policy, episode_of(episode, sizes.pop() if len(sizes) == 1 else (None, None)), settings.learn)
    except (PolicyError, RuntimeError) as error:
        raise DataError(f"episode {episode.name}: {error}; critic.checkpoint: found {settings.checkpoint!r}") from error


@lru_cache(maxsize=1)
def _policy(checkpoint: str, written: tuple[int, ...]) -> "ChunkPolicy":
    """Kept between the episodes, until its files are written anew."""
    from policies.checkpoint import load_checkpoint

    return load_checkpoint(Path(checkpoint))[0]


def gather(facts: Mapping[str, "Transitions"], settings: CriticLabelSettings, catalogue: Catalogue) -> _Gathered:
    """Learn the critic, keep it, and judge every step."""
    from policies.bundle import sha256_of
    from policies.checkpoint import WEIGHTS
    from policies.critic import save_critic
    from policies.q_rank import train_critic

    try:
        learned, _ = train_critic(list(facts.values()), settings.learn)
    except PolicyError as error:
        raise DataError(str(error)) from error
    critic, last = learned.critic, learned.checks[learned.verdict.best]
    seen_by = sha256_of(Path(settings.checkpoint) / WEIGHTS)
    if settings.out:
        about = {"checkpoint": settings.checkpoint, "sha256": seen_by, "checks": [asdict(check) for check in learned.checks]}
        save_critic(Path(settings.out), critic, about)
    values = {
        name: (critic.value(t.s, t.a).numpy().astype(np.float64), critic.state_value(t.s).numpy().astype(np.float64))
        for name, t in facts.items()
    }
    explained = f"TD targets explained: {last.explained:.2f}; Q and return of episodes held out correlate: {last.held:.2f}"
    return _Gathered(values, f"critic on {seen_by[:12]}: {learned.verdict}; mean Q {last.q:.3g}; {explained}")


def label(episode: Recording, settings: CriticLabelSettings, gathered: _Gathered) -> Labels:
    """`advantage`, `chunk_q`, `chunk_v` (n,)."""
    q, v = gathered.values[episode.name]
    named: dict[str, Any] = {"advantage": q - v, "chunk_q": q, "chunk_v": v}
    return {name: value.astype(np.float32) for name, value in named.items()}


def tell(gathered: _Gathered) -> str:
    """How well the critic fits, and whether it over- or underfits."""
    return gathered.told


LABELLER = Labeller("critic", 1, label, reads, measure, gather, tell, files)
