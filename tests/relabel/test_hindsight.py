from dataclasses import replace

import numpy as np
import pytest

from robot_stack.cli import main
from robot_stack.config.relabel import HindsightSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.recording import STATE
from robot_stack.errors import ConfigError
from robot_stack.relabel.hindsight import label, reads
from tests.data.made_up import recording
from tests.relabel.written import write_set


@pytest.fixture
def episode():
    return recording(rows=40, camera=False)


def test_where_an_episode_ended_was_its_goal(episode):
    found = label(episode, HindsightSettings(reached=1e-6), None)
    q = episode.columns[STATE]
    assert np.array_equal(found["goal"], np.repeat(q[-1:], 40, axis=0))
    assert found["goal_steps"].tolist() == list(range(39, -1, -1))
    assert np.flatnonzero(found["goal_reward"] == 0.0).tolist() == [38, 39]


def test_a_later_state_was_the_goal_and_the_draw_is_the_same_every_time(episode):
    settings = HindsightSettings(goal="future", horizon=0.5)
    found, again = label(episode, settings, None), label(episode, settings, None)
    assert np.array_equal(found["goal"], again["goal"])
    steps = found["goal_steps"]
    assert (steps[:-1] >= 1).all() and steps.max() <= 10 and steps[-1] == 0 and len(set(steps.tolist())) > 3
    assert np.array_equal(found["goal"], episode.columns[STATE][np.arange(40) + steps])
    other = label(replace(episode, name="other"), settings, None)
    assert not np.array_equal(found["goal_steps"], other["goal_steps"])


def test_an_instruction_says_what_was_done(episode):
    settings = HindsightSettings(instruction="Put the {on_goal} cube on the disc.")
    did = replace(episode, constants={"on_goal": "violet"})
    assert reads(settings) == ("on_goal",)
    assert label(did, settings, None)["instruction"] == "Put the violet cube on the disc."
    assert "instruction" not in label(replace(episode, constants={"on_goal": ""}), settings, None)


def test_a_sentence_with_half_a_brace_is_refused():
    with pytest.raises(ConfigError, match="hindsight.instruction"):
        reads(HindsightSettings(instruction="Put the {on_goal cube."))


def test_the_instruction_is_the_task_of_the_episode_until_it_is_taken_back(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")
    root = write_set(tmp_path / "logs")

    def tasks():
        catalogue = Catalogue.open(root)
        return {catalogue.recording(entry).task for entry in catalogue.entries()}

    assert main(["relabel", "hindsight", f"dataset={root}", "hindsight.instruction=Wave."]) == 0
    assert tasks() == {"Wave."}
    assert main(["data", "undo", str(root)]) == 0
    assert tasks() == {"Go."}
