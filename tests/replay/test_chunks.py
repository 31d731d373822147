from dataclasses import replace

import numpy as np
import pytest

from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.data.wire import ChoiceNote, note_of
from robot_stack.errors import DataError, ReplayMismatch
from robot_stack.replay.chunks import replay_chunks
from robot_stack.types import ActionChunk, CameraFrame, Choice, JointState, Observation


class MeanPolicy:
    """A small real policy: rows follow from the joints, the brightness of the picture and a gain."""

    joint_names = ("a", "b")
    cameras = ("scene",)

    def __init__(self, gain=1.0):
        self.gain = gain

    def decide(self, observation):
        bright = observation.frames["scene"].rgb.mean() / 255
        rows = observation.joints.q + self.gain * bright * np.arange(4.0)[:, None]
        return Choice(ActionChunk(observation.t_ns, observation.t_ns, 50_000_000, rows, "mean"), 2, np.array([1.0, 4.0, 9.0]))


def record(path, lose=(), noted=True):
    """Pictures at 30 Hz, joints at 100 Hz, 20 decisions; the pictures whose index is in `lose` are not recorded."""
    rng = np.random.default_rng(1)
    policy = MeanPolicy()
    with LogWriter(path, LogMetadata("sim_arm", ("a", "b"), instruction="Go.")) as log:
        for i in range(60):
            t = 10**11 + i * 10_000_000
            joints = JointState(t, rng.normal(size=2), np.zeros(2))
            log.write_value("/joint_states", t, joints)
            if i % 3 == 0:
                frame = CameraFrame("scene", t - 2_000_000, rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
                if i // 3 not in lose:
                    log.write_value("/scene/image", t, frame)
                seen = Observation(frame.t_ns, {"scene": frame}, joints, "Go.")
                choice = policy.decide(seen)
                note = note_of(choice, 0.01 + i / 1e4, seen)
                log.write_value("/policy/chunk", t, choice.chunk)
                log.write_value("/policy/choice", t, note if noted else replace(note, seen={}))
    return read_log(path)


def test_the_same_policy_decides_the_same_on_what_it_saw(tmp_path):
    report = replay_chunks(record(tmp_path / "log"), MeanPolicy()).require()
    assert (len(report.chunks), report.skipped, report.worst) == (20, 0, 0.0)
    assert {(c.recorded_winner, c.replayed_winner) for c in report.chunks} == {(2, 2)}


def test_another_policy_is_found_out_and_the_worst_chunk_named(tmp_path):
    report = replay_chunks(record(tmp_path / "log"), MeanPolicy(gain=1.1))
    with pytest.raises(ReplayMismatch, match=r"the chunk at \d\.\d+ s differs by .* is this the bundle"):
        report.require()


def test_a_decision_on_a_picture_that_was_lost_is_skipped_and_counted(tmp_path):
    report = replay_chunks(record(tmp_path / "log", lose=(3, 4)), MeanPolicy()).require()
    assert (len(report.chunks), report.skipped) == (18, 2)


def test_a_few_chunks_spread_over_the_log_can_stand_for_all(tmp_path):
    report = replay_chunks(record(tmp_path / "log"), MeanPolicy(), limit=3)
    assert [round(c.t_s, 3) for c in report.chunks] == [-0.002, 0.298, 0.568]


def test_a_log_that_does_not_say_what_was_seen_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not say what the policy saw"):
        replay_chunks(record(tmp_path / "log", noted=False), MeanPolicy())


def test_a_log_without_chunks_is_no_success(tmp_path):
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", ("a", "b"))):
        pass
    with pytest.raises(ReplayMismatch, match="no chunk to compare"):
        replay_chunks(read_log(tmp_path / "log"), MeanPolicy()).require()


def test_a_note_names_every_input_it_was_made_from(tmp_path):
    note = next(v for _, _, v in record(tmp_path / "log").iterate({"/policy/choice"}))
    assert isinstance(note, ChoiceNote)
    assert note.seen == {"joints": 10**11, "scene": 10**11 - 2_000_000}
