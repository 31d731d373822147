from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.relabel import MarginSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings, VocbfSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.recording import STATE
from robot_stack.errors import ConfigError, DataError
from robot_stack.kinematics import Kinematics
from robot_stack.relabel.margins import NEVER, label
from safety.hindsight import transitions
from safety.margins import margins
from tests.relabel.written import DEMO, write_turns

SPEC = load_robot("sim_arm")
HAZARD = np.array([0.45, 0.05, 0.30])


@pytest.fixture
def episode(tmp_path):
    """The arm sweeps past the obstacle; 100 Hz."""
    q = np.tile(SPEC.q_home, (100, 1))
    q[:, 0] = np.linspace(-1.0, 1.0, 100)
    catalogue = Catalogue.open(write_turns(tmp_path / "log", DEMO, joints=SPEC.joint_names, hazard=HAZARD, q=q), 0.0)
    return catalogue.recording(next(catalogue.entries()))


def test_h_is_what_v_ocbf_computes_for_the_perceived_obstacle(episode):
    found = label(episode, MarginSettings(), None)
    q = episode.columns[STATE]
    expected = margins(q, HAZARD, 0.05, Kinematics(SPEC), SPEC, SafetySettings().keep_out_margin, workspace=False)
    assert np.allclose(found["h_keep_out"], expected, atol=1e-6)
    assert np.allclose(found["h"], np.minimum(expected, 0.15), atol=1e-6) and found["h"].min() < found["h"].max()


def test_contact_is_the_same_distance_without_the_margin_unless_links_are_nearer_to_each_other(episode):
    found = label(episode, MarginSettings(), None)
    near = found["h_keep_out"] < 0.05
    assert near.any()
    assert np.allclose(found["h_contact"][near], found["h_keep_out"][near] + SafetySettings().keep_out_margin, atol=1e-6)
    assert np.ptp(found["h_contact"][~near]) >= 0.0 and (found["h_contact"] < NEVER).all(), "links have a distance always"


def test_limits_count_the_room_and_the_speed_that_are_left(episode):
    episode.columns["qd"][:] = 0.0
    room = label(episode, MarginSettings(of=["limits"]), None)["h_limits"]
    assert room[0] == pytest.approx(min(SPEC.qd_max.min(), np.minimum(SPEC.q_max - SPEC.q_home, SPEC.q_home - SPEC.q_min).min()))
    episode.columns["qd"][:, 2] = SPEC.qd_max[2] + 0.1
    assert label(episode, MarginSettings(), None)["h_limits"][0] == pytest.approx(-0.1, abs=1e-6)


def test_h_is_the_least_of_those_that_are_asked_for(episode):
    found = label(episode, MarginSettings(of=["limits", "workspace", "contact"], most=10.0), None)
    least = np.minimum.reduce([found[f"h_{name}"] for name in ("limits", "workspace", "contact")])
    assert np.array_equal(found["h"], least)


def test_what_a_log_says_nothing_of_is_never_broken(episode):
    for name in ("hazard_p", "hazard_radius", "score", "threshold"):
        episode.columns.pop(name, None)
    found = label(episode, MarginSettings(), None)
    assert (
        (found["h_keep_out"] > 0.9 * NEVER).all()
        and (found["h_detector"] == NEVER).all()
        and (found["h"] == np.float32(0.15)).all()
    )


def test_the_monitors_score_beyond_its_threshold_is_below_zero(episode):
    episode.columns["score"], episode.columns["threshold"] = np.linspace(0, 1, 100), np.full(100, 0.75)
    found = label(episode, MarginSettings(of=["detector"]), None)
    assert ((found["h"] < 0) == (np.linspace(0, 1, 100) > 0.75)).all()


def test_another_robot_or_constraint_is_refused(episode):
    with pytest.raises(DataError, match="margins.robot=NAME"):
        label(replace(episode, robot="made_up"), MarginSettings(), None)
    with pytest.raises(DataError, match="allowed 6|allowed 7"):
        label(replace(episode, columns={**episode.columns, STATE: np.zeros((100, 3))}, names={}), MarginSettings(), None)
    with pytest.raises(ConfigError, match="allowed limits"):
        label(episode, MarginSettings(of=["luck"]), None)


def test_v_ocbf_learns_from_a_labelled_column_as_from_its_own_margins(episode):
    settings, q = VocbfSettings(), episode.columns[STATE]
    own = transitions(q, HAZARD, 0.05, SPEC, settings, 0)
    given = transitions(q, HAZARD, 0.05, SPEC, settings, 0, h=label(episode, MarginSettings(), None)["h"])
    assert np.allclose(own.h, given.h, atol=1e-6) and np.array_equal(own.states, given.states)
