"""The QP of the filter, `safety.qp.project`, from arrays in to status out: what it costs and whether it is ever wrong.

`qp`: 5,000 random problems of every kind in `qp_problems`, 7-14 variables and 1-64 rows. `qp_7x32`: the size of the target.
`wrong_status`: answers called solved that miss a row by more than 1e-6 or lie more than 1e-6 from the oracle, plus feasible
problems not solved. Oracle: quadprog on rows of unit length, CLARABEL (cvxpy, 1e-12) where quadprog finds nothing, and CLARABEL
again on the first `CHECKED` of each figure. Unit: microseconds; the sides of a comparison take turns in one process.
`best_of_three`: the same calls, the fastest of three, which leaves out what neighbours on the machine took.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.harness import Result, summary
from benchmarks.qp_peers import by_cbfpy, by_clarabel, by_quadprog, oracle
from benchmarks.qp_problems import Problem, problems
from robot_stack.types import Array
from safety.qp import Solution, project

COUNT = 5_000
CHECKED = 300
BLOCK, WARM_UP = 100, 10
LIMIT = 1e-6
TARGET_US = 50.0
SIZE = (7, 32)


def microseconds(call: Callable[..., object], arguments: Sequence[Array]) -> float:
    """How long one call takes."""
    begin = time.perf_counter_ns()
    call(*arguments)
    return (time.perf_counter_ns() - begin) * 1e-3


def timed(made: Sequence[Problem], calls: Mapping[str, Callable[..., object]]) -> tuple[dict[str, list[float]], list[float]]:
    """Every call on every problem, in turns of `BLOCK` problems, after a warm-up; and the best of three of `project`."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for start in range(0, len(made), BLOCK):
        for name, call in calls.items():
            for problem in made[start : start + WARM_UP]:
                call(*problem.arguments)
            samples[name] += [microseconds(call, problem.arguments) for problem in made[start : start + BLOCK]]
    return samples, [min(microseconds(project, p.arguments) for _ in range(3)) for p in made]


def missed_by(problem: Problem, u: Array) -> float:
    """The most any row or bound is missed by."""
    return float(max((problem.b - problem.A @ u).max(), (problem.lower - u).max(), (u - problem.upper).max(), 0.0))


def kkt_residual(problem: Problem, u: Array) -> float:
    """``min_{l >= 0} |W (u - u_ref) - G' l|`` over the rows G (of unit length) and bounds that are active at `u`."""
    length = np.maximum(np.sqrt((problem.A * problem.A).sum(axis=1)), 1e-12)
    rows, eye = problem.A / length[:, None], np.eye(u.size)
    G = np.concatenate((rows, eye, -eye))
    gap = np.concatenate((rows @ u - problem.b / length, u - problem.lower, problem.upper - u))
    gradient = problem.weight * (u - problem.u_ref)
    active = gap < 1e-8
    return float(np.abs(gradient).max()) if not active.any() else float(nnls(G[active].T, gradient)[1])


def judged(made: Sequence[Problem], found: Sequence[Solution], checked: int) -> dict[str, Any]:
    """The tally of right and wrong."""
    wrong, statuses = Counter[str](), Counter(s.status for s in found)
    residual = violation = apart = apart_clarabel = 0.0
    for i, (problem, answer) in enumerate(zip(made, found, strict=True)):
        if not answer.solved:
            wrong["feasible_called_infeasible"] += problem.inside is not None
            continue
        violation = max(violation, missed_by(problem, answer.u))
        residual = max(residual, kkt_residual(problem, answer.u))
        best = oracle(*problem.arguments)
        second = by_clarabel(*problem.arguments) if best is None or i < checked else None
        wrong["violated"] += missed_by(problem, answer.u) > LIMIT
        wrong["no_oracle"] += best is None and second is None
        if best is not None:
            apart = max(apart, float(np.abs(answer.u - best).max()))
            wrong["far_from_oracle"] += bool(np.abs(answer.u - best).max() > LIMIT)
        if second is not None:
            apart_clarabel = max(apart_clarabel, float(np.abs(answer.u - second).max()))
    unknown = wrong.pop("no_oracle", 0)
    return {
        "wrong_status": sum(wrong.values()),
        "wrong": {kind: n for kind, n in wrong.items() if n},
        "feasible": sum(p.inside is not None for p in made),
        "statuses": dict(statuses),
        "kkt_residual": residual,
        "worst_violation": violation,
        "largest_difference": apart,
        "largest_difference_clarabel": apart_clarabel,
        "checked_by_clarabel": min(checked, len(made)),
        "without_oracle": unknown,
    }


def peer_errors(made: Sequence[Problem], peer: Callable[..., Array | None]) -> dict[str, int]:
    """How often a peer misses a row by more than 1e-6 (or 1e-3), or finds nothing, on the feasible problems."""
    answers = [(p, peer(*p.arguments)) for p in made if p.inside is not None]
    missed = np.array([np.inf if u is None or not np.isfinite(u).all() else missed_by(p, u) for p, u in answers])
    return {"feasible": len(answers), "missed_1e-6": int((missed > LIMIT).sum()), "missed_1e-3": int((missed > 1e-3).sum())}


def measure(name: str, count: int, checked: int, size: tuple[int, int] | None, peers: Mapping[str, Any]) -> Result:
    """One figure: `count` problems of all kinds, of one `size` or of all."""
    made = list(problems(count, size=size))
    samples, best = timed(made, {"project": project, **peers})
    extra = judged(made, [project(*p.arguments) for p in made], checked)
    extra["peers"] = {peer: peer_errors(made, call) for peer, call in peers.items()}
    extra["best_of_three"] = summary(best)
    return Result(name, "us", samples.pop("project"), against=samples, extra=extra)


def cbfpy_peer() -> dict[str, Any]:
    """cbfpy for `SIZE`, or nothing and the reason printed."""
    try:
        return {"cbfpy": by_cbfpy(*SIZE)}
    except ImportError as error:
        print(f"qp: without the peer cbfpy: {error}; next: pip install -e '.[cbfpy]'")
        return {}


def main(arguments: Sequence[str] = (), count: int = COUNT, checked: int = CHECKED) -> list[Result]:
    """All sizes, then the size of the target."""
    sized = measure("qp_7x32", count, checked, SIZE, {"quadprog": by_quadprog, **cbfpy_peer()})
    mixed = measure("qp", count, checked, None, {"quadprog": by_quadprog})
    target = {"p99_7x32": sized.as_dict()["p99"], "target_7x32": TARGET_US}
    return [Result(mixed.name, mixed.unit, mixed.samples, mixed.against, {**target, **mixed.extra}), sized]
