from pathlib import Path

import pytest

from robot_stack.data.log import read_log
from robot_stack.replay.verdicts import replay_verdicts, safety_of
from robot_stack.types import Decision, Mode

GOLDEN = Path(__file__).parents[1] / "golden"
LOGS = sorted(path.parent for path in GOLDEN.glob("*/*.mcap"))


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.name)
def test_a_golden_log_replays_bit_equal(path):
    log = read_log(path)
    report = replay_verdicts(log, safety_of(log)).require()
    assert log.complete and report.ticks > 300 and report.gaps == 0


def test_the_frozen_camera_ends_in_fallback_then_a_stop():
    modes = [s.verdict.mode.value for s in read_log(GOLDEN / "frozen").steps()]
    order = [m for i, m in enumerate(modes) if i == 0 or m != modes[i - 1]]
    assert order == ["disarmed", "teleop", "fallback", "stop"]


def test_the_frozen_camera_leaves_an_arm_that_holds_within_half_a_second():
    steps = [s for s in read_log(GOLDEN / "frozen").steps() if s.verdict.mode is Mode.FALLBACK]
    still = next(s for s in steps if s.verdict.decision is Decision.HOLD)
    assert 0 < still.t_ns - steps[0].t_ns < 500_000_000
    assert all(s.verdict.decision is Decision.HOLD and not s.verdict.command.qd.any() for s in steps[steps.index(still) :])


def test_golden_logs_are_small_enough_for_the_repository():
    assert LOGS
    assert all(sum(f.stat().st_size for f in path.iterdir()) < 300_000 for path in LOGS)
