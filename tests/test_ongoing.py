from dataclasses import replace

import numpy as np

from robot_stack.chunks import rows_at
from robot_stack.ongoing import OFF_PLAN, WARM_UP, Ongoing
from robot_stack.types import ActionChunk, JointState, Observation

MS = 1_000_000
LINE = np.linspace(0.0, 1.5, 16)[:, None]


def chunk(t_ns, start=0.0):
    return ActionChunk(t_ns, t_ns, 50 * MS, LINE + start, "flow")


def seen(t_ns, q):
    return Observation(t_ns, {}, JointState(t_ns, np.array([q]), np.zeros(1)))


def ongoing(wait_ms=(100,) * 20):
    state = Ongoing()
    for k, wait in enumerate(wait_ms):
        state.after(chunk(k * MS), (k + wait) * MS)
    state.plan = chunk(1000 * MS)
    return state


def test_rows_are_read_between_the_rows_of_the_plan_and_held_beyond_it():
    assert np.allclose(rows_at(chunk(0), 25 * MS, 50 * MS, 3)[:, 0], [0.05, 0.15, 0.25])
    assert np.allclose(rows_at(chunk(0), 700 * MS, 50 * MS, 3)[:, 0], [1.4, 1.5, 1.5])


def test_the_plan_is_told_with_the_time_in_which_it_goes_on():
    told = ongoing((500,) * (WARM_UP - 1) + (100,) * 19 + (200,)).before(seen(1200 * MS, 0.4))
    assert told.plan is not None
    assert 100 * MS <= told.given_ns <= 200 * MS, "the first decisions are warm-up and are forgotten"
    assert ongoing((500,)).before(seen(1200 * MS, 0.4)).given_ns == 500 * MS


def test_an_arm_that_is_not_on_the_plan_starts_anew():
    assert ongoing().before(seen(1200 * MS, 0.4 + OFF_PLAN + 0.01)).plan is None
    broken = ongoing()
    broken.plan = replace(broken.plan, q=LINE * np.nan)
    assert broken.before(seen(1200 * MS, 0.4)).plan is None


def test_a_plan_that_is_over_or_not_yet_due_is_no_plan():
    assert ongoing().before(seen(1750 * MS, 1.5)).plan is None
    assert ongoing().before(seen(999 * MS, 0.0)).plan is None
    assert Ongoing().before(seen(0, 0.0)).plan is None
