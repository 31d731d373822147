from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.errors import DataError, ReplayMismatch
from robot_stack.replay.verdicts import replay_verdicts, safety_of
from robot_stack.types import ActionChunk, FailureScore, Hazards, JointCommand, JointState, Request, TickInputs
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings()
START = 5 * 10**12


def inputs_at(i, t, q, rng):
    """What arrives in tick i: joints and fallback always, the rest now and then, a NaN chunk and an alarm once."""
    chunk = None
    if i >= 20 and i % 10 == 0:
        target = q + rng.normal(scale=0.4, size=(16, len(q)))
        target[3:] = np.nan if i == 60 else target[3:]
        chunk = ActionChunk(t - 1000, t, 50_000_000, target, "flow")
    score = FailureScore(t, 2.0 if i == 154 else 0.1, 1.0, "frozen" if i == 154 else "") if i % 7 == 0 else None
    one = np.array([0.05])
    hazards = Hazards(t, np.array([[0.3, 0.0, 0.2]]), one, one / 10, one) if i % 6 == 0 else None
    return TickInputs(
        joints=JointState(t, q, np.zeros(len(q))),
        chunk=chunk,
        fallback=JointCommand(t, np.array(SPEC.q_home), np.zeros(len(q))),
        score=score,
        hazards=hazards,
        request=Request.ARM_POLICY if i == 30 else None,
    )


def record(path, ticks=400, skip=0, settings=SETTINGS):
    """`ticks` of the real control loop on an arm that is where it was told to be; the first `skip` are not recorded."""
    rng = np.random.default_rng(3)
    safety, state = SafetyLayer(SPEC, settings), ControlState()
    q = np.array(SPEC.q_home)
    metadata = LogMetadata("sim_arm", SPEC.joint_names, settings={"safety": settings})
    with LogWriter(path, metadata) as log:
        for i in range(ticks):
            t = START + i * safety.dt_ns
            inputs = inputs_at(i, t, q, rng)
            state, step = control_step(state, inputs, t, 1000 * (i % 3), safety)
            q = np.array(step.verdict.command.q)
            if i >= skip:
                log.write_value("/arm/verdict", t, step)
                if inputs.chunk is not None:
                    log.write_value("/policy/chunk", t, inputs.chunk)
    return read_log(path)


def test_what_was_recorded_replays_bit_equal(tmp_path):
    log = record(tmp_path / "log")
    report = replay_verdicts(log, safety_of(log)).require()
    assert (report.ticks, report.equal, report.warm_up, report.gaps, report.first) == (400, 400, 0, 0, None)
    assert {"policy", "fallback", "disarmed"} <= set(report.modes)
    assert {"chunk_not_finite", "monitor_alarm"} <= set(report.reasons)


def test_a_log_that_begins_after_arm_node_replays_bit_equal_once_warm(tmp_path):
    report = replay_verdicts(record(tmp_path / "log", skip=9), SafetyLayer(SPEC, SETTINGS)).require()
    assert report.warm_up + report.ticks == 391
    assert report.warm_up < 15


def test_a_log_whose_first_tick_has_no_new_joints_replays_bit_equal(tmp_path):
    log = record(tmp_path / "log", skip=9)
    steps = list(log.steps())
    steps[0] = replace(steps[0], inputs=replace(steps[0].inputs, joints=None))
    with LogWriter(tmp_path / "late", log.metadata) as copy:
        for step in steps:
            copy.write_value("/arm/verdict", step.t_ns, step)
            if step.inputs.chunk is not None:
                copy.write_value("/policy/chunk", step.t_ns, step.inputs.chunk)
    report = replay_verdicts(read_log(tmp_path / "late"), SafetyLayer(SPEC, SETTINGS)).require()
    assert report.warm_up + report.ticks == 391


def test_other_settings_are_found_out_with_both_sides_in_words(tmp_path):
    log = record(tmp_path / "log")
    report = replay_verdicts(log, SafetyLayer(SPEC, replace(SETTINGS, keep_out_margin=0.2)))
    assert not report.ok and report.first is not None
    assert "recorded: disarmed: hold" in str(report.first) and "replayed: disarmed: hold" in str(report.first)
    with pytest.raises(ReplayMismatch, match=r"verdicts differ; tick 1 at 0\.010 s: verdict\.margin: -?\d"):
        report.require()


def test_one_bit_of_one_command_is_found(tmp_path):
    log = record(tmp_path / "log", ticks=50)
    steps = list(log.steps())
    command = steps[40].verdict.command
    nudged = replace(command, q=np.nextafter(command.q, 9))
    steps[40] = replace(steps[40], verdict=replace(steps[40].verdict, command=nudged))
    with LogWriter(tmp_path / "nudged", log.metadata) as copy:
        for step in steps:
            copy.write_value("/arm/verdict", step.t_ns, step)
            if step.inputs.chunk is not None:
                copy.write_value("/policy/chunk", step.t_ns, step.inputs.chunk)
    report = replay_verdicts(read_log(tmp_path / "nudged"), SafetyLayer(SPEC, SETTINGS))
    assert report.first is not None
    assert (report.first.tick, report.first.field.split("[")[0]) == (40, "verdict.command.q")


def test_a_log_that_begins_armed_is_refused(tmp_path):
    log = record(tmp_path / "log", skip=100)
    with pytest.raises(DataError, match="start recording before arming"):
        replay_verdicts(log, SafetyLayer(SPEC, SETTINGS))


def test_lost_ticks_are_counted(tmp_path):
    log = record(tmp_path / "log", ticks=50)
    with LogWriter(tmp_path / "thinned", log.metadata) as copy:
        for i, step in enumerate(log.steps()):
            if i not in (5, 6, 12):
                copy.write_value("/arm/verdict", step.t_ns, step)
            if step.inputs.chunk is not None:
                copy.write_value("/policy/chunk", step.t_ns, step.inputs.chunk)
    assert replay_verdicts(read_log(tmp_path / "thinned"), SafetyLayer(SPEC, SETTINGS)).gaps == 2


def test_an_empty_log_is_no_success(tmp_path):
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", SPEC.joint_names)):
        pass
    with pytest.raises(ReplayMismatch, match="no tick to compare"):
        replay_verdicts(read_log(tmp_path / "log"), SafetyLayer(SPEC, SETTINGS)).require()


def test_a_log_without_settings_says_so(tmp_path):
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", SPEC.joint_names)):
        pass
    with pytest.raises(DataError, match="no settings of `safety`"):
        safety_of(read_log(tmp_path / "log"))
