from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted_episodes import plant, precision_recall, teleoperation
from robot_stack.config.labellers import QualitySettings
from robot_stack.errors import DataError
from robot_stack.relabel.coverage import BINS, coverage_map, shares, state_action_coverage, trajectory_quality
from robot_stack.relabel.likeness import leaks, modes, near_duplicates, silhouette
from robot_stack.relabel.motion import Motion
from robot_stack.relabel.outliers import jerk, local_median, step_quality
from robot_stack.relabel.quality import quality
from robot_stack.relabel.quality_page import write_page


@pytest.fixture(scope="module")
def case():
    return plant(teleoperation(48, seed=3), seed=3)


def test_corrupted_episodes_are_found_and_no_other_is_accused(case):
    found = {m.name for m, steps in zip(case.kept, step_quality(case.kept), strict=True) if steps.corrupt}
    assert precision_recall(found, case.corrupt) == (1.0, 1.0)


def test_clean_data_is_not_called_corrupt():
    assert not any(steps.corrupt for steps in step_quality(teleoperation(12, seed=5)))


def test_a_single_spoiled_row_has_the_largest_z_of_its_episode():
    motions = teleoperation(8, seed=1)
    q = motions[2].q.copy()
    q[30, 4] += 0.4
    motions[2] = replace(motions[2], q=q)
    z = step_quality(motions)[2].z
    assert 28 <= int(np.argmax(z)) <= 32 and z.max() > 10 and np.median(z) < 3


def test_the_local_median_forgets_a_spike_and_keeps_a_step():
    values = np.zeros((20, 2))
    values[10:, 0] = 1.0
    values[5, 1] = 9.0
    assert np.array_equal(local_median(values)[:, 0], values[:, 0]) and not local_median(values)[:, 1].any()


def test_jerk_is_that_of_a_cubic():
    t = np.arange(50)[:, None] / 20.0
    motion = Motion("cubic", 20.0, t**3, t**3)
    assert jerk(motion) == pytest.approx(6.0, rel=1e-6) and jerk(Motion("short", 20.0, t[:3], t[:3])) == 0.0


def test_an_arm_that_waits_is_idle():
    q = np.concatenate([np.zeros((30, 2)), np.linspace(0, 1, 30)[:, None] * np.ones((1, 2))])
    idle = step_quality([Motion("one", 20.0, q, q)])[0].idle
    assert idle[:29].all() and not idle[30:59].any()


def test_twins_are_found_also_when_rounded_and_trimmed(case):
    found = {frozenset((pair.one, pair.other)) for pair in near_duplicates(case.kept)}
    assert precision_recall(found, case.twins) == (1.0, 1.0)


def test_a_bit_equal_copy_is_called_one():
    one, other = teleoperation(2, seed=2)
    pairs = near_duplicates([one, other, replace(one, name="again")])
    assert [(p.one, p.other, p.why) for p in pairs] == [("episode_00", "again", "the same numbers")]
    assert near_duplicates([one]) == []


def test_a_piece_of_a_training_episode_among_those_held_out_has_leaked(case):
    found = leaks(case.kept, case.held)
    assert {pair.one for pair in found} == case.leaked and all("of its rows" in pair.why for pair in found)


def test_two_ways_of_doing_it_are_two_modes_and_one_way_is_one():
    one, other = teleoperation(10, seed=1), teleoperation(6, seed=9)
    labels, clear = modes([*one, *[replace(m, name=f"other_{m.name}") for m in other]])
    assert labels == [0] * 10 + [1] * 6 and clear > 0.4
    assert modes(one)[0] == [0] * 10


def test_the_silhouette_of_two_far_pairs_is_nearly_one():
    points = np.array([[0.0], [0.1], [10.0], [10.1]])
    assert silhouette(points, np.array([0, 0, 1, 1])) == pytest.approx(0.99, abs=0.001)
    assert silhouette(points, np.array([0, 1, 0, 1])) < 0


def test_tq_is_zero_for_random_and_one_for_the_best():
    assert trajectory_quality(np.array([-3.0, 5.0, 1.0]), -3.0, 5.0).tolist() == [0.0, 1.0, 0.5]
    with pytest.raises(DataError, match="g_max > g_min"):
        trajectory_quality(np.zeros(2), 1.0, 1.0)


def line(name, numbers):
    column = np.array(numbers, dtype=float)[:, None]
    return Motion(name, 10.0, column, np.zeros_like(column))


def test_saco_counts_unique_pairs():
    whole, half, again = line("whole", range(BINS)), line("half", range(BINS // 2)), line("again", [0, 0, 1, 1, 0])
    assert state_action_coverage([half], [whole])[0] == 0.5
    assert state_action_coverage([whole, whole], [whole]) == (1.0, 1.0)
    assert shares([whole, half, again]).tolist() == [1.0, 0.5, 0.02]


def test_an_episode_that_goes_where_no_other_goes_is_alone_there():
    motions = teleoperation(6, seed=4)
    far = replace(motions[0], name="far", q=motions[0].q + 5.0, action=motions[0].action + 5.0)
    covered = coverage_map([*motions, far])
    assert (
        covered.alone[-1] == 1.0 and covered.counts.sum() == sum(len(m) for m in [*motions, far]) and 0 < covered.explained <= 1
    )


def test_the_table_says_what_to_look_at_and_the_page_shows_it(case, tmp_path):
    found = quality([*case.kept, *case.held], QualitySettings(holdout=len(case.held)))
    table = str(found)
    assert all(f"{name:<24}" in table for name in case.corrupt | case.leaked) and table.count("corrupt:") == len(case.corrupt)
    assert table.count("twin of") == 2 * len(case.twins) and table.count("leaks from") == len(case.leaked)
    labels = found.episodes[0].labels
    assert len(labels["quality_z"]) == found.episodes[0].rows and np.isnan(labels["quality_tq"])
    write_page(found, "<planted>", tmp_path / "quality.html")
    page = (tmp_path / "quality.html").read_text()
    assert page.count("<tr") == len(case.kept) + len(case.held) + 1 and "&lt;planted&gt;" in page and "src=" not in page


def test_episodes_of_two_robots_are_refused():
    with pytest.raises(DataError, match="one kind"):
        quality([*teleoperation(2), *teleoperation(2, joints=3)], QualitySettings())


def test_rewards_give_tq():
    motions = [replace(m, reward=np.full(len(m), float(i))) for i, m in enumerate(teleoperation(5, seed=7))]
    found = quality(motions, QualitySettings(holdout=0))
    assert found.episodes[0].tq == 0.0 and max(e.tq for e in found.episodes) == 1.0
