from pathlib import Path

import pytest

from robot_stack.build import load_robot
from robot_stack.replay.crew import Setup
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.protections import VARIANTS, Condition, Job, Trial, as_rows, cells, wilson
from robot_stack.types import Mode

NOMINAL = Condition("nominal", "nominal")


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval_is_that_of_the_published_tables(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-4)


def test_nothing_is_known_of_a_rate_without_trials() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def _outcome(seed: int, success: bool, clearance: float, stop_s: float | None = None) -> Outcome:
    mode = Mode.POLICY if stop_s is None else Mode.STOP
    return Outcome(seed, "nominal", success, clearance, clearance, 5.0, mode, 0.5, 0.0, None, stop_s)


def test_the_table_counts_each_variant_and_scenario_by_itself() -> None:
    trial = Trial(Setup(load_robot("sim_arm")), Path("unused"))
    first, second = VARIANTS[0], VARIANTS[-1]
    results = [
        (Job(trial, first, NOMINAL, 0), _outcome(0, True, -0.01)),
        (Job(trial, second, NOMINAL, 0), _outcome(0, False, 0.05, stop_s=2.0)),
        (Job(trial, first, NOMINAL, 1), _outcome(1, False, 0.02)),
    ]
    table = list(cells(results))
    assert [(c.variant, c.n, c.success, c.violation, c.stopped) for c in table] == [
        (first.name, 2, 1, 1, 0),
        (second.name, 1, 0, 0, 1),
    ]
    assert table[0].clearance_min == -0.01 and table[1].time_to_stop_s == 2.0
    assert as_rows(table)[0]["success_rate"] == 0.5
