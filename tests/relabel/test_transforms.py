import numpy as np
import pytest

from robot_stack.config.labellers import AugmentSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.data.recording import ACTION, STATE, Recording
from robot_stack.errors import ConfigError, DataError
from robot_stack.kinematics import Kinematics
from robot_stack.relabel.augment import draw, handled, label, progress
from robot_stack.relabel.transforms import (
    Scene,
    approach,
    error_covariance,
    guided,
    mirror_signs,
    mirrored,
    moved,
    strayed,
    turned,
)

SPEC = load_robot("sim_arm")
KINEMATICS = Kinematics(SPEC)
HOME = np.array(SPEC.q_home)


def tips(q):
    return KINEMATICS.positions(q)[:, -1]


def reach(rows=40, seed=0):
    """The arm goes over the table, shuts the gripper on the way, carries on and opens it at the end."""
    s = np.linspace(0, 1, rows)[:, None]
    rng = np.random.default_rng(seed)
    span = np.array([-0.9, 0.25, 0.15, 0.0, -0.3, 0.2, 0.0]) + rng.normal(0, 0.01, 7) * np.array([1, 1, 1, 1, 1, 1, 0])
    q = HOME + np.array([0.5, 0.1, 0.0, 0.05, -0.1, 0.0, 0.0]) + s * span
    q[rows // 3 : -4, 6] = 0.012
    return q


def scene(seed=0):
    q = reach(seed=seed)
    places = {"tip": tips(q), "object": tips(q) + 0.01, "goal": np.tile([0.3, -0.2, 0.0], (len(q), 1))}
    return Scene(q, q + 0.001, places)


def turn(p, angle):
    c, s = np.cos(angle), np.sin(angle)
    return p @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T


def test_the_arm_turned_about_its_base_is_where_its_tip_turned_is():
    found = turned(scene(), 0.3, SPEC, fixed=("goal",))
    assert np.abs(tips(found.q) - turn(tips(scene().q), 0.3)).max() < 1e-12
    assert np.abs(tips(found.action) - turn(tips(scene().action), 0.3)).max() < 1e-12
    assert np.abs(found.places["object"] - turn(scene().places["object"], 0.3)).max() < 1e-12
    assert np.array_equal(found.places["goal"], scene().places["goal"])


def test_turning_there_and_back_changes_nothing():
    back = turned(turned(scene(), 0.4, SPEC), -0.4, SPEC)
    assert np.abs(back.q - scene().q).max() < 1e-12 and np.abs(back.places["tip"] - scene().places["tip"]).max() < 1e-12


def test_a_mirrored_arm_has_every_point_of_it_mirrored():
    rng = np.random.default_rng(1)
    q = rng.uniform(np.maximum(SPEC.q_min, -1.4), np.minimum(SPEC.q_max, 1.4), (50, 7))
    found = mirrored(Scene(q, q, {"tip": tips(q)}), SPEC)
    flip = np.array([1.0, -1.0, 1.0])
    assert np.abs(KINEMATICS.positions(found.q) - KINEMATICS.positions(q) * flip).max() < 1e-12
    assert np.abs(found.places["tip"] - tips(found.q)).max() < 1e-12
    again = mirrored(found, SPEC)
    assert np.array_equal(again.q, q) and mirror_signs(SPEC)[6] == 1.0


def test_a_moved_arm_has_its_tip_moved_and_its_hand_turned_as_before():
    found = moved(scene(), (0.02, -0.03), SPEC)
    assert np.abs(tips(found.q) - tips(scene().q) - [0.02, -0.03, 0.0]).max() < 2e-4
    for before, after in zip(scene().q[::7], found.q[::7], strict=True):
        assert np.abs(KINEMATICS.tip(before)[1] - KINEMATICS.tip(after)[1]).max() < 2e-3
    assert np.array_equal(found.q[:, 6], scene().q[:, 6])


def test_what_the_arm_cannot_do_is_not_made():
    assert moved(scene(), (0.9, 0.0), SPEC) is None
    assert turned(scene(), 2.5, SPEC) is None


def test_a_robot_without_the_symmetry_is_refused():
    from dataclasses import replace

    askew = replace(SPEC, joints=(replace(SPEC.joints[0], axis=(0.0, 0.6, 0.8)), *SPEC.joints[1:]))
    with pytest.raises(ConfigError, match="upright"):
        turned(scene(), 0.1, askew)
    with pytest.raises(ConfigError, match="plane y = 0"):
        mirror_signs(askew)


def test_only_copies_that_make_progress_are_kept():
    original = scene()
    rule = approach("object", "goal")
    assert rule(original) > 0.2

    def either(rng):
        angle = rng.choice([-0.05, 0.6])
        return lambda s: turned(s, float(angle), SPEC, fixed=("goal",))

    kept = guided(original, either, rule, 10, np.random.default_rng(0))
    angles = {round(float((made.q - original.q)[0, 0]), 3) for made in kept}
    assert angles == {-0.05} and len(kept) == 10 and all(rule(made) >= 0.9 * rule(original) for made in kept)
    assert guided(original, lambda rng: lambda s: None, rule, 3, np.random.default_rng(0)) == []


def test_noise_has_the_covariance_of_the_policys_errors_and_actions_have_none():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(4000, 2))
    error = rng.normal(size=(4000, 2)) @ np.array([[0.1, 0.05], [0.0, 0.02]])
    covariance = error_covariance(true + error, true)
    states = np.hstack([true, np.ones((4000, 1))])
    noisy = strayed(states, covariance, 2.0, rng)
    assert np.cov((noisy - states)[:, :2].T) == pytest.approx(4.0 * covariance, abs=0.004) and np.array_equal(
        noisy[:, 2], states[:, 2]
    )
    with pytest.raises(DataError, match="as many or more"):
        strayed(states[:, :1], covariance, 1.0, rng)


def test_the_gripper_tells_what_was_handled_and_where_it_was_left():
    q = reach()
    found = handled(q, q, SPEC)
    taken, left = len(q) // 3, len(q) - 4
    assert np.allclose(found.places["object"][:taken], tips(q)[taken]) and np.allclose(found.places["goal"], tips(q)[left])
    assert np.array_equal(found.places["object"][taken:left], tips(q)[taken:left]) and progress(found, 0.03) > 0.1
    open_all_along = np.where(np.arange(7) == 6, 0.04, q)
    assert handled(open_all_along, open_all_along, SPEC) is None


def test_the_labeller_writes_copies_that_still_bring_the_object_to_its_place():
    q = reach()
    found = Recording(
        "one", 20.0, {STATE: q, ACTION: q}, names={STATE: SPEC.joint_names, ACTION: SPEC.joint_names}, robot="sim_arm"
    )
    settings = AugmentSettings(copies=2)
    labels = label(found, settings, None)
    assert labels["augment_kept"] == 2 and labels["augment_0_state"].shape == q.shape
    for i in range(2):
        copy = labels[f"augment_{i}_state"]
        left = np.linalg.norm(tips(copy)[-4] - tips(q)[-4])
        assert 0 < left <= settings.place + 0.005
    assert 0 < np.abs(labels["augment_noise_state"] - q).mean() < 0.02
    again = label(found, settings, None)
    assert all(np.array_equal(labels[name], again[name], equal_nan=True) for name in labels if name != "augment_kept")
    with pytest.raises(DataError, match="has not the joints"):
        label(Recording("other", 20.0, {STATE: q, ACTION: q}, robot="sim_arm"), settings, None)
    assert draw(SPEC, settings, np.random.default_rng(0)) is not None
