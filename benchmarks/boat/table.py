"""The boat's table: every method in the same river, from its own certified states and from the same states as all others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.boat.distance import DistanceBarrier
from benchmarks.boat.learning import Lessons
from benchmarks.boat.rollout import BoatPolicy, GoalPolicy, Rollouts, rollout, wilson
from drivers.boat import Boat
from robot_stack.types import Array
from safety.affine_filter import AffineFilter, AffinePlant, StateBarrier

NEAR = 0.5
"""Start states lie outside the rocks, nearer than this (m) to one: elsewhere nothing is at stake."""

SPARE = 0.05
"""What the exact value must be (m) of the starts counted as `spare`: on the edge itself no error at all is forgiven."""


RECOVERY = 20.0
"""1/s: the class-K slope below the level, where one is used."""


@dataclass(frozen=True, slots=True)
class Row:
    """How the barrier row is written; see `safety.affine_filter`."""

    alpha: float = 1.0
    level: float = 0.0
    recovery: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A policy, and the filter it runs behind (None: bare). `certifier` and `level` say what it calls safe (None: h >= 0)."""

    name: str
    policy: BoatPolicy
    check: AffineFilter | None
    certifier: StateBarrier | None
    level: float = 0.0

    def certifies(self, states: Array) -> Array:
        """Mask (n,): the method calls these safe."""
        if self.certifier is None:
            return np.ones(len(states), dtype=bool)
        return self.certifier.values_and_gradients(states)[0] >= self.level


def behind(name: str, policy: BoatPolicy, barrier: StateBarrier, plant: AffinePlant, row: Row) -> Method:
    """`policy` behind the filter of `barrier`."""
    return Method(name, policy, AffineFilter(barrier, plant, row.alpha, row.level, recovery=row.recovery), barrier, row.level)


def filters(lessons: Lessons, policy: BoatPolicy, level: float) -> list[Method]:
    """Every barrier behind the same policy, with the same learned f and g; last the exact value with the true ones."""
    boat, model = lessons.boat, lessons.model
    vocbf, lead = lessons.vocbf, Row(recovery=RECOVERY)
    return [
        behind("V-OCBF", policy, vocbf, model, Row()),
        behind("V-OCBF, recovery", policy, vocbf, model, lead),
        behind("V-OCBF calibrated", policy, vocbf, model, Row(level=level, recovery=RECOVERY)),
        behind("V-OCBF, 2 cm more", policy, vocbf, model, Row(level=level + 0.02, recovery=RECOVERY)),
        behind("V-OCBF, alpha 10", policy, vocbf, model, Row(alpha=10.0)),
        behind("V-OCBF as published", policy, lessons.as_published, model, Row()),
        behind("CCBF", policy, lessons.ccbf, model, Row()),
        behind("CCBF, recovery", policy, lessons.ccbf, model, lead),
        behind("distance CBF", policy, DistanceBarrier(boat), model, Row()),
        behind("exact value", policy, lessons.exact, boat, Row()),
    ]


def methods(lessons: Lessons, level: float) -> list[Method]:
    """The whole table: BC is the nominal policy of every filter."""
    bare = [
        Method("BC", lessons.bc, None, None),
        Method("BC-safe", lessons.bc_safe, None, None),
        Method("FISOR-style", lessons.fisor, None, lessons.vocbf),
    ]
    return [*filters(lessons, lessons.bc, level), *bare]


def blind(lessons: Lessons, level: float) -> list[Method]:
    """The same filters behind a policy that never saw a rock."""
    goal = GoalPolicy(lessons.boat)
    rows = [row for row in filters(lessons, goal, level) if row.name not in ("V-OCBF, alpha 10", "V-OCBF as published")]
    return [*rows, Method("no filter", goal, None, None)]


def draw(boat: Boat, count: int, rng: np.random.Generator, wanted: Callable[[Array], Array]) -> Array:
    """`count` start states (count, 2) clear of rocks and `wanted`, even over the water within NEAR of a rock. Fewer where a
    hundred thousand draws do not give as many."""
    states = boat.draw(100_000, rng)
    h = boat.margin(states)
    states = states[(h >= 0) & (h < NEAR)]
    return states[wanted(states)][:count]


def summary(runs: Rollouts) -> dict[str, Any]:
    """Violations with their interval, and what safety cost."""
    k, n = int(runs.violated.sum()), len(runs.violated)
    return {
        "violated": k,
        "n": n,
        "rate": round(k / n, 4) if n else None,
        "wilson95": [round(x, 4) for x in wilson(k, n)] if n else None,
        "reward_per_step": round(-float(runs.distance.mean()), 3) if n else None,
        "changed": round(float(runs.changed.mean()), 3) if n else None,
        "row_missed": round(float(runs.missed.mean()), 4) if n else None,
    }


def closed_loop(lessons: Lessons, rows: list[Method], count: int, seed: int) -> tuple[dict[str, Any], dict[str, Rollouts]]:
    """For each method: `own`, from states it certifies; `common`, from the same states of the exact safe set for all (also
    returned); `spare`, of those the ones with SPARE to spare. Prints as it goes."""
    boat, hold = lessons.boat, lessons.study.hold
    rng = np.random.default_rng(seed)
    common = draw(boat, count, rng, lambda s: lessons.exact.values_and_gradients(s)[0] >= 0)
    spare = lessons.exact.values_and_gradients(common)[0] >= SPARE
    answers, runs = {}, {}
    for row in rows:
        own = draw(boat, count, np.random.default_rng(seed + 1), row.certifies)
        own_runs = rollout(boat, own, row.policy, row.check, hold, seed) if len(own) else None
        runs[row.name] = rollout(boat, common, row.policy, row.check, hold, seed)
        violated = runs[row.name].violated[spare]
        answers[row.name] = {
            "own": summary(own_runs) if own_runs else None,
            "common": summary(runs[row.name]),
            "spare": {"violated": int(violated.sum()), "n": len(violated)},
        }
        print(f"   {row.name:<22}{line(answers[row.name])}", flush=True)
    return answers, runs


def line(answer: dict[str, Any]) -> str:
    """One row as text."""
    own, common, spare = answer["own"], answer["common"], answer["spare"]
    first = "certifies nothing" if own is None else f"{own['violated']}/{own['n']} {own['wilson95']}"
    return (
        f"own {first:<27} common {common['violated']}/{common['n']} {common['wilson95']}, "
        f"spare {spare['violated']}/{spare['n']}, reward {common['reward_per_step']}, changed {common['changed']}, "
        f"row missed {common['row_missed']}"
    )
