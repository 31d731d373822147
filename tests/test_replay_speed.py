"""The long log of `bench replay_speed` is a log like any other, and what is measured along it adds up."""

from pathlib import Path

import pytest

from benchmarks.bench_replay_speed import GOLDEN, again_and_again, replayed, write_long
from robot_stack.data.log import read_log
from robot_stack.replay.verdicts import replay_verdicts, safety_of


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    write_long(folder, 0.2)
    return folder / "log"


def test_the_episode_repeated_without_a_decision_is_what_would_be_decided(long_log: Path) -> None:
    log = read_log(long_log)
    report = replay_verdicts(log, safety_of(log)).require()
    assert report.gaps == 0 and report.ticks >= 0.2 * 60 * 100 and report.modes.keys() >= {"teleop", "fallback", "stop"}


def test_a_repetition_continues_the_times_of_the_one_before_it() -> None:
    golden = read_log(GOLDEN)
    steps = list(again_and_again(list(golden.steps()), 0.2, safety_of(golden)))
    assert {b.t_ns - a.t_ns for a, b in zip(steps, steps[1:], strict=False)} == {10_000_000}


def test_memory_and_speed_are_measured_at_the_minutes_asked_for(long_log: Path) -> None:
    *rows, whole = replayed(long_log, 1, (0.05, 0.15))
    assert [row["minutes"] for row in rows] == [0.05, 0.15] and whole["ticks"] >= 1200
    assert all(row["rss_mib"] > 0 and row["cpu"] > 0 and row["wall"] > 0 for row in (*rows, {"rss_mib": 1, **whole}))
