import numpy as np
import pytest

from robot_stack.data import from_log
from robot_stack.data.from_log import DECISIONS, MODES, episode_from_log
from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.errors import DataError
from robot_stack.types import (
    CameraFrame,
    Decision,
    FailureScore,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
)

TICK = 10_000_000
START = 10**12


def record(path, armed=range(20, 80), count=100, frames_from=0, shadow=False):
    """100 Hz ticks whose numbers are their index; a frame every 4th tick, 3 ms old when its tick comes; armed in the middle."""
    metadata = LogMetadata("sim_arm", ("a",), instruction="Go.", settings={"policy": {"shadow": shadow}})
    with LogWriter(path, metadata) as log:
        for i in range(count):
            t = START + i * TICK
            state = JointState(t - 1, np.array([float(i)]), np.array([0.5]))
            if i % 4 == 0 and i >= frames_from:
                log.write_value("/scene/image", t, CameraFrame("scene", t - 3_000_000, np.full((2, 2, 3), i, np.uint8)))
            if i == 40:
                one = np.array([0.1])
                log.write_value("/monitor/hazards", t, Hazards(t, np.array([[1.0, 2.0, 3.0]]), one, one, one))
                log.write_value("/monitor/score", t, FailureScore(t, 0.2, 0.9))
            mode = Mode.POLICY if i in armed else Mode.DISARMED
            command = SafeCommand(JointCommand(t, np.array([100.0 + i]), np.zeros(1)))
            verdict = SafetyVerdict(t, mode, Decision.LIMIT, None, command, margin=0.25)
            log.write_value("/joint_states", t, state)
            log.write_value("/arm/verdict", t, Step(t, 2000, TickInputs(joints=state), verdict))
    return read_log(path)


def test_samples_are_the_armed_ticks_on_an_even_grid(tmp_path):
    episode = episode_from_log(record(tmp_path / "log"), 20.0, ["scene"])
    assert episode.q[:, 0].tolist() == list(range(20, 80, 5))
    assert episode.action[:, 0].tolist() == list(range(120, 180, 5))
    assert (episode.instruction, episode.rate_hz, episode.joint_names) == ("Go.", 20.0, ("a",))


def test_a_picture_is_the_newest_at_or_before_its_sample(tmp_path):
    episode = episode_from_log(record(tmp_path / "log"), 20.0, ["scene"])
    assert episode.images["scene"][:, 0, 0, 0].tolist() == [i - i % 4 for i in range(20, 80, 5)]


def test_with_a_cache_pictures_are_decoded_once_and_lie_in_mapped_files(tmp_path, monkeypatch):
    log = record(tmp_path / "log")
    plain, first = (episode_from_log(log, 20.0, ["scene"], cache=cache) for cache in (None, tmp_path / "cache"))
    assert isinstance(first.images["scene"], np.memmap) and np.array_equal(first.images["scene"], plain.images["scene"])
    monkeypatch.setattr(from_log, "_pictures", lambda *_: pytest.fail("they are kept"))
    again = episode_from_log(log, 20.0, ["scene"], cache=tmp_path / "cache")
    assert np.array_equal(again.images["scene"], plain.images["scene"])


def test_columns_say_mode_decision_margin_and_what_was_perceived(tmp_path):
    columns = episode_from_log(record(tmp_path / "log"), 20.0, []).columns
    assert {MODES[int(i)] for i in columns["mode"]} == {Mode.POLICY}
    assert {DECISIONS[int(i)] for i in columns["decision"]} == {Decision.LIMIT}
    assert columns["margin"].tolist() == [0.25] * 12
    assert np.isnan(columns["score"][:4]).all() and (columns["score"][4:] == 0.2).all()
    assert np.isnan(columns["hazard_p"][:4]).all() and columns["hazard_p"][4].tolist() == [[1.0, 2.0, 3.0]]
    assert columns["hazard_age_s"][5].tolist() == [0.05]


def test_the_grid_begins_with_the_first_frame(tmp_path):
    episode = episode_from_log(record(tmp_path / "log", frames_from=30), 50.0, ["scene"])
    assert episode.q[0, 0] == 32
    assert episode.images["scene"][0, 0, 0, 0] == 32


def test_a_log_without_an_armed_tick_is_refused(tmp_path):
    with pytest.raises(DataError, match="was the arm armed"):
        episode_from_log(record(tmp_path / "log", armed=()), 20.0, ["scene"])


def test_a_camera_without_frames_is_named(tmp_path):
    with pytest.raises(DataError, match="/wrist/image"):
        episode_from_log(record(tmp_path / "log"), 20.0, ["wrist"])


def test_commands_that_were_never_sent_are_no_actions_to_learn(tmp_path):
    with pytest.raises(DataError, match="recorded in shadow"):
        episode_from_log(record(tmp_path, shadow=True), 20.0, ["scene"])
