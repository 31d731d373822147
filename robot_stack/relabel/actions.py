"""Proxy actions for episodes that have none: learned on those that do, measured on some of those as if they had none (SSORL).

Columns: `proxy_action` (n, A), the recorded action where there is one, and `proxy_action_std` (n, A), zero there. What is said
once: `proxy_known`, and of all episodes the error on withheld ones, `proxy_error` (mean absolute) and `proxy_explained`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_stack.config.labellers import ActionsSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.labels import Labels
from robot_stack.data.recording import ACTION, STATE, Recording
from robot_stack.data.video import iterate
from robot_stack.errors import DataError
from robot_stack.relabel.labeller import Labeller
from robot_stack.types import Array, Image

MOST_PICTURES = 1500
"""Principal components are learned on at most so many pictures, evenly spread."""

Proxy = tuple[Array, Array]
"""Mean and standard deviation of an episode's actions, (n, A) each."""


@dataclass(frozen=True, slots=True, eq=False)
class ActionError:
    """How far proxies are from withheld true actions: mean absolute error (A,), that of the best constant, share of variance
    explained (A,), share of true actions within two standard deviations, and how many `episodes` and `rows` that was."""

    mae: Array
    constant_mae: Array
    explained: Array
    within: float
    episodes: int
    rows: int

    def __str__(self) -> str:
        return (
            f"proxy actions of {self.episodes} withheld episodes ({self.rows:,} rows): mean absolute error "
            f"{self.mae.mean():.4g}, the best constant's {self.constant_mae.mean():.4g}; {100 * self.explained.mean():.1f} % "
            f"of the variance explained; {100 * self.within:.0f} % within two standard deviations"
        )


def action_error(proxies: Sequence[Proxy], actions: Sequence[Array], constant: Array) -> ActionError:
    """Of `proxies` against true `actions` (n, A); `constant` (A,): what nothing but the mean would say."""
    mean, std = (np.concatenate(part) for part in zip(*proxies, strict=True))
    true = np.concatenate(list(actions))
    error, spread = np.abs(mean - true), np.maximum(true.var(axis=0), 1e-12)
    return ActionError(
        mae=error.mean(axis=0),
        constant_mae=np.abs(true - constant).mean(axis=0),
        explained=1.0 - (error**2).mean(axis=0) / spread,
        within=float((error <= 2.0 * std).mean()),
        episodes=len(actions),
        rows=len(true),
    )


def proxy_actions(
    states: Sequence[Array], actions: Sequence[Array | None], settings: ActionsSettings, relative: bool = False
) -> tuple[list[Proxy], ActionError | None]:
    """Proxies of every episode of `states` (n, D), and the error on withheld episodes (None: none withheld).

    Episodes with `actions` None are those to be labelled. `relative`: states begin with the joints that actions command.
    The error is of a model that never saw the withheld actions; the proxies are of one that saw all there are.
    Raises DataError when no episode has actions.
    """
    from robot_stack.relabel.inverse_dynamics import fit

    known = [i for i, a in enumerate(actions) if a is not None]
    if not known:
        raise DataError("actions: found no episode with actions, allowed at least one to learn from")
    held, error = _withheld(known, settings), None
    if held:
        seen = [i for i in known if i not in held]
        model = fit([states[i] for i in seen], _of(actions, seen), settings, relative)
        constant = np.concatenate(_of(actions, seen)).mean(axis=0)
        error = action_error([model.actions(states[i]) for i in held], _of(actions, held), constant)
    model = fit([states[i] for i in known], _of(actions, known), settings, relative)
    return [model.actions(s) for s in states], error


def _withheld(known: Sequence[int], settings: ActionsSettings) -> list[int]:
    """Some of `known`, at least one where there are two, drawn by the seed."""
    count = min(max(1, round(settings.withhold * len(known))), len(known) - 1) if settings.withhold else 0
    return sorted(np.random.default_rng(settings.seed).permutation(known)[:count].tolist())


def _of(actions: Sequence[Array | None], rows: Iterable[int]) -> list[Array]:
    return [a for i in rows if (a := actions[i]) is not None]


def shrunk(pictures: Iterable[Image], pixels: int) -> NDArray[np.uint8]:
    """(n, 3 pixels^2) of n pictures uint8 (H, W, 3), taken one by one."""
    return np.array([cv2.resize(p, (pixels, pixels), interpolation=cv2.INTER_AREA).reshape(-1) for p in pictures])


def picture_states(episodes: Sequence[NDArray[np.uint8]], components: int) -> list[Array]:
    """Shrunk pictures (n, D) of each episode as (n, K) numbers: principal components of all of them, of unit variance."""
    count = sum(len(episode) for episode in episodes)
    stack = np.concatenate([e[:: max(1, count // MOST_PICTURES)] for e in episodes]) / 255.0
    mean = stack.mean(axis=0)
    _, scale, axes = np.linalg.svd(stack - mean, full_matrices=False)
    kept = min(components, max(int((scale > 1e-6 * scale[0]).sum()), 1))
    basis = axes[:kept] * (np.sqrt(len(stack)) / np.maximum(scale[:kept, None], 1e-12))
    return [(episode / 255.0 - mean) @ basis.T for episode in episodes]


@dataclass(frozen=True, slots=True, eq=False)
class _Fact:
    """One episode to learn from: what is `seen` (n, D), its actions (None: to be labelled), whether they are of its joints."""

    seen: NDArray[Any]
    action: Array | None
    relative: bool


def measure(episode: Recording, settings: ActionsSettings) -> _Fact:
    """What is learned from of one episode. Raises DataError where it has no such source."""
    action = episode.numbers(ACTION) if ACTION in episode.columns else None
    if action is not None and not np.isfinite(action).all():
        action = None
    if settings.source == "pictures":
        if not episode.cameras:
            raise DataError(
                f"actions.source=pictures: episode {episode.name} has no camera, allowed one or more, or source=state"
            )
        views = [iterate(p) for p in episode.cameras.values()]
        return _Fact(np.hstack([shrunk(view, settings.pixels) for view in views]), action, relative=False)
    if STATE not in episode.columns:
        raise DataError(f"actions: episode {episode.name} has no {STATE}, allowed one, or source=pictures")
    same = bool(episode.names.get(STATE)) and episode.names.get(STATE) == episode.names.get(ACTION)
    return _Fact(episode.numbers(STATE), action, same)


@dataclass(frozen=True, slots=True)
class _Gathered:
    """Proxies by episode, which of them had actions, and the error."""

    proxies: Mapping[str, Proxy]
    known: frozenset[str]
    error: ActionError | None


def gather(facts: Mapping[str, _Fact], settings: ActionsSettings, catalogue: Catalogue) -> _Gathered:
    """Learn, and label every episode. Raises DataError when they differ in their numbers, or none has actions."""
    names, found = list(facts), list(facts.values())
    for what, widths in (
        ("seen", {f.seen.shape[1] for f in found}),
        ("actions", {f.action.shape[1] for f in found if f.action is not None}),
    ):
        if len(widths) > 1:
            raise DataError(f"actions: found episodes with {sorted(widths)} numbers a row in their {what}, allowed one width")
    seen = [fact.seen for fact in found]
    states = picture_states(seen, settings.components) if settings.source == "pictures" else seen
    relative = any(f.relative for f in found) and all(f.relative or f.action is None for f in found)
    proxies, error = proxy_actions(states, [fact.action for fact in found], settings, relative)
    known = frozenset(name for name in names if facts[name].action is not None)
    return _Gathered(dict(zip(names, proxies, strict=True)), known, error)


def label(episode: Recording, settings: ActionsSettings, gathered: _Gathered) -> Labels:
    """`proxy_action`, `proxy_action_std`, `proxy_known`, and the error where it was measured."""
    mean, std = gathered.proxies[episode.name]
    known = episode.name in gathered.known
    labels: dict[str, Any] = {
        "proxy_action": episode.numbers(ACTION) if known else mean,
        "proxy_action_std": np.zeros_like(std) if known else std,
        "proxy_known": known,
    }
    if gathered.error is not None:
        error = gathered.error
        labels |= {"proxy_error": float(error.mae.mean()), "proxy_explained": float(error.explained.mean())}
    return labels


def tell(gathered: _Gathered) -> str:
    """How many episodes had actions, and the error."""
    known = f"learned on {len(gathered.known)} of {len(gathered.proxies)} episodes"
    return f"{known}; {gathered.error or 'no error: no episode was withheld'}"


LABELLER = Labeller("actions", 1, label, measure=measure, gather=gather, tell=tell)
