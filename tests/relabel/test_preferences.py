import json
import threading
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")

from robot_stack.config.relabel import PreferenceSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.log_source import write_log
from robot_stack.data.recording import STATE
from robot_stack.errors import DataError
from robot_stack.relabel import preferences
from robot_stack.relabel.preferences import LABELLER, logistic
from robot_stack.relabel.rater_page import BrowserRater
from robot_stack.relabel.runs import Job, relabel
from tests.data.made_up import recording

SETTINGS = PreferenceSettings(prefer="height", seconds=0.5, pairs=30)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """12 episodes; what is preferred is where the first joint is."""
    folder = tmp_path_factory.mktemp("preferences") / "set"
    for i in range(12):
        made = recording(f"e{i:02}", seed=i, camera=True)
        made.columns[STATE][:] = 0.5 * made.columns[STATE] / made.columns[STATE].std(0)
        height = made.columns[STATE][:, 0].copy()
        write_log(replace(made, columns={**made.columns, "height": height}), folder / made.name)
    return folder


def truth_and_reward(root):
    catalogue = Catalogue.open(root)
    found = [catalogue.recording(entry).columns for entry in catalogue.entries()]
    return tuple(np.concatenate([f[name] for f in found]) for name in ("height", "preference_reward", "preference_std"))


def test_the_reward_learned_from_pairs_ranks_steps_as_the_rater_does(root):
    run = relabel(Job(root, 30.0, LABELLER, SETTINGS))
    assert run.episodes == 12 and "used 30" in run.told
    height, reward, std = truth_and_reward(root)
    assert np.corrcoef(height, reward)[0, 1] > 0.8
    assert (std >= 0).all() and std.max() > 0


def test_asking_by_disagreement_and_the_same_settings_give_the_same_reward(root):
    again = relabel(Job(root, 30.0, LABELLER, SETTINGS))
    assert again.episodes == 0 and again.kept == 12


def test_logistic_regression_is_at_the_optimum():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 4)), random.integers(0, 2, 60).astype(float)
    w = logistic(x, y, 0.3)
    assert np.abs(x.T @ (1 / (1 + np.exp(-x @ w)) - y) + 0.3 * w).max() < 1e-6


@contextmanager
def person(monkeypatch, words):
    """A person at the page, who answers `words` in turn; yields the numbers of the pairs that were answered."""
    seen, over, pages = [], threading.Event(), []

    def make(settings):
        pages.append(BrowserRater(settings.question))
        return pages[-1]

    def fetch(place, body=None):
        with urllib.request.urlopen(pages[-1].url.replace("/?", f"{place}?"), body, 60) as reply:
            return reply.read()

    def answer():
        while not over.wait(0.01):
            with suppress(OSError, IndexError):  # no page yet, or none any more
                if found := fetch("/pair"):
                    said = {"number": json.loads(found)["number"], "answer": words[len(seen) % len(words)]}
                    fetch("/answer", json.dumps(said).encode())
                    seen.append(said["number"])

    monkeypatch.setattr(preferences, "make_rater", make)
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield seen
    over.set()
    thread.join(60)


def test_a_persons_answers_are_kept_and_not_asked_for_again(root, monkeypatch):
    settings = replace(SETTINGS, rater="browser", pairs=3)
    with person(monkeypatch, ["left", "right"]) as seen:
        assert relabel(Job(root, 30.0, LABELLER, settings)).episodes == 12
        assert relabel(Job(root, 30.0, LABELLER, replace(settings, pairs=5))).episodes == 12
    assert seen == [1, 2, 3, 1, 2]
    kept = [json.loads(line) for line in (root / "labels/preferences.jsonl").read_text().splitlines()]
    assert len(kept) == 5 and {line["rater"] for line in kept} == {"browser"} and all(line["when"] for line in kept)


def test_when_every_pair_is_skipped_the_reward_is_zero(root, monkeypatch):
    settings = replace(SETTINGS, rater="browser", question="Which is louder?", pairs=3)
    with person(monkeypatch, ["skip"]):
        assert "used 0" in relabel(Job(root, 30.0, LABELLER, settings)).told
    assert not truth_and_reward(root)[1].any()


def test_one_clip_cannot_be_compared(tmp_path):
    write_log(recording("only", rows=8, camera=False), tmp_path / "set" / "only")
    with pytest.raises(DataError, match="allowed 2 or more"):
        relabel(Job(tmp_path / "set", 30.0, LABELLER, replace(SETTINGS, prefer="next.reward")))
