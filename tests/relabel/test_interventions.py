import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")

from robot_stack.config.relabel import InterventionSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.relabel.interventions import CLASSES, DEMO, INTERVENTION, LABELLER, PRE, ROBOT, classes, iwr, sirius
from robot_stack.relabel.runs import Job, relabel
from robot_stack.types import Mode
from tests.relabel.written import write_set, write_turns

SETTINGS = InterventionSettings(window=0.15)


@pytest.fixture
def found(tmp_path):
    """The labelled set at 100 Hz by episode."""
    root = write_set(tmp_path / "logs")
    assert not relabel(Job(root, 0.0, LABELLER, SETTINGS)).faults
    catalogue = Catalogue.open(root, 0.0)
    return {entry.name: catalogue.recording(entry).columns for entry in catalogue.entries()}


def test_who_moved_the_arm_makes_four_classes(found):
    assert set(found["a"]["intervention"].tolist()) == {DEMO}
    expected = [ROBOT] * 45 + [PRE] * 15 + [INTERVENTION] * 20 + [ROBOT] * 20
    assert found["c"]["intervention"].tolist() == expected


def test_sirius_gives_interventions_half_of_the_weight_and_demonstrations_theirs(found):
    rows = np.concatenate([found[name]["intervention"] for name in "abc"])
    weight = np.concatenate([found[name]["sirius_weight"] for name in "abc"])
    assert weight[rows == INTERVENTION].sum() == pytest.approx(0.5 * len(rows))
    assert np.all(weight[rows == DEMO] == 1.0)
    assert weight[rows == PRE].sum() == pytest.approx(0.002 * len(rows), rel=1e-4)


def test_the_robots_own_steps_take_what_is_left(found):
    counts = np.array([100, 300, 50, 50])
    weights = sirius(counts, SETTINGS)
    assert weights @ counts == pytest.approx(counts.sum())
    assert not (sirius(np.array([900, 60, 20, 20]), SETTINGS)[CLASSES.index(ROBOT)]), "demonstrations leave nothing"


def test_without_interventions_all_steps_weigh_one():
    assert sirius(np.array([40, 60, 0, 0]), SETTINGS).tolist() == [1.0] * 4 == iwr(np.array([40, 60, 0, 0])).tolist()


def test_iwr_gives_interventions_as_much_as_all_the_rest(found):
    rows = np.concatenate([found[name]["intervention"] for name in "abc"])
    weight = np.concatenate([found[name]["iwr_weight"] for name in "abc"])
    assert weight[rows == INTERVENTION].sum() == pytest.approx(weight[rows != INTERVENTION].sum())


def test_rlif_punishes_the_last_step_before_a_person_took_over(found):
    assert np.flatnonzero(found["c"]["rlif_reward"]).tolist() == [59] and found["c"]["rlif_reward"][59] == -1.0
    assert not found["a"]["rlif_reward"].any()


def test_a_second_takeover_does_not_call_the_person_pre_intervention(tmp_path):
    modes = [Mode.POLICY] * 20 + [Mode.TELEOP] * 10 + [Mode.POLICY] * 5 + [Mode.TELEOP] * 10
    catalogue = Catalogue.open(write_turns(tmp_path / "log", modes), 0.0)
    found = classes(catalogue.recording(next(catalogue.entries())), 0.15)
    assert found.tolist() == [ROBOT] * 5 + [PRE] * 15 + [INTERVENTION] * 10 + [PRE] * 5 + [INTERVENTION] * 10
