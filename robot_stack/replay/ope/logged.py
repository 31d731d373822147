"""What the estimators read: logged episodes as arrays, checked once, and what another policy would have done in each state.

The value of a policy pi is ``J = E[sum_{t < H} gamma^t r_t]``, H the horizon in decisions.
Nothing is earned past a terminal state.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import DataError
from robot_stack.types import Array

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LoggedEpisode:
    """n decisions: `states` (n + 1, S), the last one after the last action; `actions` (n, A); `rewards` (n,).

    `log_density` (n,): ln pi_b(a_t | s_t) as the behaviour policy drew it, per unit of the action, or None where nobody knows.
    `terminal`: nothing can be earned after the last state; False where the log merely stops (time limit, operator).
    """

    states: Array
    actions: Array
    rewards: Array
    log_density: Array | None = None
    terminal: bool = False

    def __post_init__(self) -> None:
        n = len(self.rewards)
        shapes = (self.states.ndim, self.actions.ndim, len(self.states), len(self.actions))
        if n == 0 or shapes != (2, 2, n + 1, n) or (self.log_density is not None and self.log_density.shape != (n,)):
            raise DataError(
                f"logged episode: found states {self.states.shape}, actions {self.actions.shape}, rewards {self.rewards.shape}; "
                "allowed (n + 1, S), (n, A), (n,) and log_density (n,) with n >= 1; next: keep the state after the last action"
            )
        for name in ("states", "actions", "rewards", "log_density"):
            values = getattr(self, name)
            if values is None:
                continue
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(bad):
                raise DataError(
                    f"logged episode: {name}: found {len(bad)} rows that are no numbers, the first at {bad[0]}; "
                    "allowed finite; next: leave these rows out, or fill them where the log was relabelled"
                )

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedData:
    """Episodes of one robot and task. `discount` gamma in (0, 1]; `horizon` H in decisions, 0: the longest episode's length."""

    episodes: tuple[LoggedEpisode, ...]
    discount: float = 1.0
    horizon: int = 0

    def __post_init__(self) -> None:
        if len(self.episodes) < 2:
            raise DataError(f"logged data: found {len(self.episodes)} episodes, allowed at least 2; next: record more")
        widths = {(e.states.shape[1], e.actions.shape[1], e.log_density is None) for e in self.episodes}
        if len(widths) > 1:
            raise DataError(
                f"logged data: found (states, actions, no densities) {sorted(widths)}; allowed one kind of episode; "
                "next: evaluate each kind by itself, or set log_density to None in all"
            )
        if not 0.0 < self.discount <= 1.0 or self.horizon < 0:
            raise DataError(
                f"logged data: found discount {self.discount:g}, horizon {self.horizon}; allowed in (0, 1], at least 0"
            )
        if not self.horizon:
            object.__setattr__(self, "horizon", max(map(len, self.episodes)))

    @property
    def alive(self) -> Mask:
        """(E, H): the decision was taken."""
        lengths = np.array([len(e) for e in self.episodes])
        return np.arange(self.horizon) < lengths[:, None]

    @property
    def discounts(self) -> Array:
        """gamma^t (H,)."""
        return np.asarray(self.discount ** np.arange(self.horizon), dtype=np.float64)

    def padded(self, name: str) -> Array:
        """`name` of the episodes, cut at the horizon or filled up with zeros: (E, H, ...)."""
        rows = [getattr(e, name)[: self.horizon] for e in self.episodes]
        whole = np.zeros((len(rows), self.horizon, *rows[0].shape[1:]))
        for i, values in enumerate(rows):
            whole[i, : len(values)] = values
        return whole

    def returns(self) -> Array:
        """What each episode earned, (E,): its mean is the behaviour policy's value, on policy."""
        returns: Array = self.padded("rewards") @ self.discounts
        return returns


@dataclass(frozen=True, slots=True, eq=False)
class TargetPolicy:
    """The policy to be valued. `sample(states (n, S), rng) -> (n, A)`; `log_density(states (n, S), actions (n, A)) -> (n,)`, or
    None where there is none (flow policies: FQE only)."""

    sample: Callable[[Array, np.random.Generator], Array]
    log_density: Callable[[Array, Array], Array] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """What the policy would do in the logged states: per episode `actions` (n + 1, M, A), M draws in each state, and the
    `log_density` (n,) it gives to the logged actions, or None."""

    actions: tuple[Array, ...]
    log_density: tuple[Array, ...] | None = None


def propose(data: LoggedData, policy: TargetPolicy, draws: int = 8, seed: int = 0) -> Proposals:
    """`draws` actions of `policy` in every logged state, and its densities of the logged actions. Raises DataError on NaN."""
    rng = np.random.default_rng(seed)
    states = np.concatenate([e.states for e in data.episodes])
    drawn = np.stack([policy.sample(states, rng) for _ in range(draws)], axis=1)
    if drawn.shape[2:] != data.episodes[0].actions.shape[1:] or not np.isfinite(drawn).all():
        raise DataError(
            f"target policy: found actions {drawn.shape[2:]}, {int((~np.isfinite(drawn)).sum())} of them no numbers; "
            f"allowed {data.episodes[0].actions.shape[1:]}, finite; next: run the policy on the states by hand"
        )
    ends = np.cumsum([len(e.states) for e in data.episodes])[:-1]
    actions = tuple(np.split(drawn, ends))
    if policy.log_density is None:
        return Proposals(actions)
    return Proposals(actions, tuple(policy.log_density(e.states[:-1], e.actions) for e in data.episodes))


def check_proposals(data: LoggedData, proposals: Proposals) -> None:
    """Raises DataError unless there are as many as logged, and one of them at least lies in the range of the logged ones."""
    lengths = [len(e) + 1 for e in data.episodes], [len(drawn) for drawn in proposals.actions]
    if lengths[0] != lengths[1]:
        raise DataError(f"proposals: found states of episodes {lengths[1][:9]}, allowed {lengths[0][:9]}")
    logged = np.concatenate([e.actions for e in data.episodes])
    proposed = np.concatenate([drawn.reshape(-1, logged.shape[1]) for drawn in proposals.actions])
    if not ((proposed >= logged.min(axis=0)) & (proposed <= logged.max(axis=0))).all(axis=1).any():
        raise DataError(
            f"target policy: found {len(proposed)} proposed actions, every one outside the range of the logged ones; "
            "allowed at least one inside; next: compare units and joint order, or log such actions"
        )
