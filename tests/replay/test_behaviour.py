"""What a change would have done on the golden log, tick by tick; and how it is accepted beside a reason."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from robot_stack.config.commands import ReplayCommand
from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.errors import ConfigError, DataError, ReplayMismatch
from robot_stack.replay.accept import FILE, accept, accepted
from robot_stack.replay.behaviour import Change, Other, behaviour, other_of, step_diffs
from robot_stack.replay.command import replay
from robot_stack.replay.recorded_settings import changed, recorded_settings
from robot_stack.replay.verdicts import replay_verdicts, safety_of
from safety.layer import SafetyLayer

GOLDEN = Path(__file__).parents[1] / "golden" / "frozen"


@pytest.fixture
def log(tmp_path: Path) -> EpisodeLog:
    return read_log(Path(shutil.copytree(GOLDEN, tmp_path / "frozen", ignore=shutil.ignore_patterns(FILE))))


def nudged(log: EpisodeLog, path: Path) -> EpisodeLog:
    """A copy of `log` that says of a few ticks something else than today's code does."""
    with LogWriter(path, log.metadata) as copy:
        for i, step in enumerate(log.steps()):
            verdict = replace(step.verdict, slack=0.5) if 100 <= i < 103 else step.verdict
            copy.write_value("/arm/verdict", step.t_ns, replace(step, verdict=verdict))
            if step.inputs.chunk is not None:
                copy.write_value("/teleop/chunk", step.t_ns, step.inputs.chunk)
    return read_log(path)


def test_nothing_changed_is_the_same_tick_by_tick(log: EpisodeLog) -> None:
    found = behaviour(log, Other(safety_of(log)))
    assert found.counts == {"same": found.ticks} and not found.first and found.distance == 0.0


def test_without_the_filter_what_was_limited_is_let_through_with_its_reason(log: EpisodeLog) -> None:
    diffs = [d for d in step_diffs(log, other_of(log, "safety.use_filter=false")) if d.change is Change.LET_THROUGH]
    assert diffs and all(d.gone and not d.recorded == d.replayed for d in diffs)
    found = behaviour(log, other_of(log, "safety.use_filter=false"))
    assert found.count(Change.LET_THROUGH) == len(diffs) and "slowed_along_path" in found.gone


def test_a_shorter_fallback_is_stopped_earlier_with_its_reason(log: EpisodeLog) -> None:
    found = behaviour(log, other_of(log, "safety.stop_after_s=0.5"))
    assert found.count(Change.STOPPED) > 50 and "fallback_too_long" in found.new
    assert found.guarded_s[0] == found.guarded_s[1]


def test_each_tick_that_differs_goes_to_the_sink(log: EpisodeLog, tmp_path: Path) -> None:
    said = replay(ReplayCommand(log=str(log.path.parent), config="safety.use_filter=false", out=str(tmp_path / "out")))
    lines = [json.loads(line) for line in (tmp_path / "out" / "behaviour.jsonl").read_text().splitlines()]
    assert "let through" in said and len(lines) > 3
    assert {line["change"] for line in lines} <= {c.value for c in Change} - {Change.SAME.value}


def test_a_monitor_is_not_replayed_on_pictures_that_were_left_out(log: EpisodeLog) -> None:
    with pytest.raises(DataError, match="pictures were left out"):
        behaviour(log, other_of(log, "monitor.frozen_frames=4"))


@pytest.mark.parametrize("config", ["safety.keepout=1", "keep_out_margin=1", "safety.keep_out_margin", "safety.clear_s=soon"])
def test_a_setting_that_is_none_is_refused(log: EpisodeLog, config: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed|Allowed"):
        changed(recorded_settings(log), config)


def test_settings_are_changed_and_the_rest_is_as_recorded(log: EpisodeLog) -> None:
    before = recorded_settings(log)
    after = changed(before, "safety.clear_s=0.25, monitor.frozen_frames=5")
    assert after.safety == replace(before.safety, clear_s=0.25) and after.monitor is not None and after.monitor.frozen_frames == 5


def test_a_log_that_does_not_say_how_it_was_set_up_is_refused(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "bare", LogMetadata("sim_arm", ("a",))):
        pass
    with pytest.raises(DataError, match="no settings of `safety`"):
        recorded_settings(read_log(tmp_path / "bare"))


def test_an_accepted_difference_replays_and_the_reason_stays(log: EpisodeLog, tmp_path: Path) -> None:
    old = nudged(log, tmp_path / "old")
    folder = str(old.path.parent)
    with pytest.raises(ReplayMismatch, match="verdicts differ|replays differ"):
        replay(ReplayCommand(log=folder))
    assert "accepted" in replay(ReplayCommand(log=folder, accept="slack is reported otherwise"))
    assert "3 of them as accepted" in replay(ReplayCommand(log=folder))
    assert accepted(old.path.parent).reason == "slack is reported otherwise"
    assert "nothing to accept" in replay(ReplayCommand(log=folder, accept="again"))


def test_what_was_accepted_must_still_come_out_so(log: EpisodeLog) -> None:
    folder = log.path.parent
    step = next(s for i, s in enumerate(log.steps()) if i == 200)
    accept(folder, "a verdict nobody makes", {200: replace(step, verdict=replace(step.verdict, slack=0.25))})
    report = replay_verdicts(log, safety_of(log))
    assert not report.ok and report.ticks - report.equal == 1 and report.first is not None and report.first.tick == 200


def test_acceptance_needs_a_reason_and_nothing_else_changed(log: EpisodeLog) -> None:
    with pytest.raises(DataError, match="one sentence"):
        accept(log.path.parent, "  ", {})
    with pytest.raises(ConfigError, match="log= alone"):
        replay(ReplayCommand(log=str(log.path.parent), accept="why", config="safety.clear_s=1"))


def test_a_damaged_reference_is_named(log: EpisodeLog) -> None:
    (log.path.parent / FILE).write_text("[{}]")
    with pytest.raises(DataError, match="accepted.json"):
        replay_verdicts(log, SafetyLayer(recorded_settings(log).spec, recorded_settings(log).safety))
