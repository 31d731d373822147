import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from robot_stack.cli import main
from robot_stack.config.labellers import ActionsSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.recording import ACTION, STATE, Pictures, Recording
from robot_stack.errors import ConfigError, DataError
from robot_stack.relabel.actions import measure, picture_states, proxy_actions, shrunk
from robot_stack.relabel.inverse_dynamics import fit, windows

SMALL = ActionsSettings(width=64, steps=600, batch=128, lr=3e-3, seed=1)
DT = 0.1


def pushed(rng, rows=80):
    """A mass on a line seen by its place alone: p' = p + dt v', v' = v + dt a, so the action shows in the second difference."""
    a = rng.uniform(-1.0, 1.0, rows)
    v = DT * np.cumsum(a)
    p = np.concatenate([[0.0], DT * np.cumsum(v)[:-1]])
    return p[:, None] / DT**2, a[:, None]


def episodes(count, seed=0):
    rng = np.random.default_rng(seed)
    states, actions = zip(*(pushed(rng) for _ in range(count)), strict=True)
    return list(states), list(actions)


def test_a_window_is_the_state_and_the_steps_around_it():
    states = np.array([[1.0], [3.0], [6.0]])
    assert windows(states, past=1).tolist() == [[1, 0, 2], [3, 2, 3], [6, 3, 0]]
    assert windows(states, past=0).tolist() == [[1, 2], [3, 3], [6, 0]]


def test_what_only_acceleration_shows_needs_the_transition_before():
    states, actions = episodes(20)
    errors = {}
    for past in (0, 1):
        model = fit(states[:10], actions[:10], ActionsSettings(past=past, width=64, steps=600, batch=128, lr=3e-3))
        errors[past] = np.mean(
            [np.abs(model.actions(s)[0] - a)[1:-1].mean() for s, a in zip(states[10:], actions[10:], strict=True)]
        )
    assert errors[1] < 0.06 and errors[0] > 3 * errors[1]


def test_the_error_is_of_actions_that_were_withheld():
    states, actions = episodes(12)
    known = [a if i < 10 else None for i, a in enumerate(actions)]
    proxies, error = proxy_actions(states, known, SMALL)
    assert error.episodes == 2 and error.rows == 160 and error.mae[0] < 0.2 * error.constant_mae[0] and error.explained[0] > 0.9
    missing = np.mean([np.abs(proxies[i][0] - actions[i])[1:-1].mean() for i in (10, 11)])
    assert missing < 0.1 and "withheld" in str(error)
    assert proxy_actions(states, known, ActionsSettings(steps=10, withhold=0.0))[1] is None


def test_positions_are_learned_relative_to_the_joints():
    rng = np.random.default_rng(0)
    q = [np.cumsum(rng.normal(0, 0.02, (60, 2)), axis=0) + far for far in (0.0, 0.1, 5.0)]
    action = [np.concatenate([x[1:], x[-1:]]) for x in q]
    model = fit(q[:2], action[:2], SMALL, relative=True)
    assert np.abs(model.actions(q[2])[0] - action[2])[:-1].mean() < 0.2


def test_the_same_seed_gives_the_same_proxies():
    states, actions = episodes(4)
    one, other = (fit(states, actions, ActionsSettings(steps=60, width=16)).actions(states[0])[0] for _ in range(2))
    assert np.array_equal(one, other)


def test_without_any_actions_nothing_can_be_learned():
    states, _ = episodes(2)
    with pytest.raises(DataError, match="at least one to learn from"):
        proxy_actions(states, [None, None], SMALL)
    with pytest.raises(ConfigError, match="state, pictures"):
        ActionsSettings(source="sound")


def dot(at):
    picture = np.zeros((24, 24, 3), np.uint8)
    picture[10:14, int(np.clip(at, 0, 20)) : int(np.clip(at, 0, 20)) + 4] = 255
    return picture


def test_pictures_alone_show_the_action():
    rng = np.random.default_rng(2)
    actions, seen = [], []
    for _ in range(10):
        a = rng.integers(-1, 2, 60)
        at = 10 + np.concatenate([[0], np.cumsum(a)[:-1]])
        a, at = a[np.abs(at - 10) < 9], at[np.abs(at - 10) < 9]
        actions.append(a[:, None].astype(float))
        seen.append(shrunk((dot(x) for x in at), 24))
    states = picture_states(seen, 16)
    _, error = proxy_actions(states, actions, SMALL)
    assert error.explained[0] > 0.6


def write_dataset(path, count=6, unlabelled=2):
    from robot_stack.data.robomimic_source import gather, write_demonstration

    states, actions = episodes(count)
    pieces = []
    for i, (s, a) in enumerate(zip(states, actions, strict=True)):
        a = a if i < count - unlabelled else np.full_like(a, np.nan)
        found = Recording(f"demo_{i}", 10.0, {STATE: s, ACTION: a}, names={STATE: ("p",), ACTION: ("push",)})
        pieces.append((path.with_name(f"piece_{i}.hdf5"), f"demo_{i}"))
        write_demonstration(found, *pieces[-1])
    gather(pieces, path, {})
    return actions


def test_the_labels_come_with_their_error_and_where_they_are_from(tmp_path, capsys):
    pytest.importorskip("h5py", reason="needs h5py: pip install 'robot_stack[robomimic]'")
    file = tmp_path / "pushed.hdf5"
    actions = write_dataset(file)
    assert main(["relabel", "actions", f"dataset={file}", "actions.steps=300", "actions.width=32", "why=two have none"]) == 0
    assert "learned on 4 of 6 episodes; proxy actions of 1 withheld episodes" in capsys.readouterr().out
    catalogue = Catalogue.open(file)
    first, last = (catalogue.recording(e) for e in (list(catalogue.entries())[0], list(catalogue.entries())[-1]))
    assert np.array_equal(first.columns["proxy_action"], actions[0]) and first.constants["proxy_known"] is True
    assert np.isfinite(last.columns["proxy_action"]).all() and last.columns["proxy_action_std"].min() > 0
    assert last.constants["proxy_known"] is False and last.constants["proxy_error"] > 0
    card = json.loads((tmp_path / "pushed.hdf5.labels" / "0001-actions" / "run.json").read_text())
    assert card["why"] == "two have none" and card["settings"]["steps"] == 300 and "mean absolute error" in card["told"]


def test_an_episode_without_cameras_cannot_be_labelled_from_pictures():
    found = Recording("blind", 10.0, {STATE: np.zeros((3, 1)), ACTION: np.zeros((3, 1))})
    with pytest.raises(DataError, match="no camera"):
        measure(found, ActionsSettings(source="pictures"))
    seen = Recording("seen", 10.0, {STATE: np.zeros((3, 1))}, cameras={"top": Pictures(lambda: iter([dot(3)] * 3), range(3))})
    fact = measure(seen, ActionsSettings(source="pictures", pixels=8))
    assert fact.seen.shape == (3, 192) and fact.action is None
