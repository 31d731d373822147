from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.relabel import WeightSettings
from robot_stack.data.recording import STATE
from robot_stack.errors import ConfigError, DataError
from robot_stack.relabel.weights import advantages, gather, label, measure, rewards, trajectory_weights
from tests.data.made_up import recording

RETURN = WeightSettings()


def episodes(earned, rows=40):
    made = [recording(f"e{i}", rows=rows, seed=i, camera=False) for i in range(len(earned))]
    return {e.name: replace(e, constants={**e.constants, "success": g}) for e, g in zip(made, earned, strict=True)}


def labelled(made, settings):
    gathered = gather({name: measure(e, settings) for name, e in made.items()}, settings, None)
    return {name: label(e, settings, gathered) for name, e in made.items()}


def test_episodes_weigh_by_the_softmax_of_their_returns():
    found = labelled(episodes([0.0, 1.0, 0.5]), replace(RETURN, alpha=0.5))
    weights = np.array([found[f"e{i}"]["weight"][0] for i in range(3)])
    assert np.allclose(np.log(weights[1] / weights), [2.0, 0.0, 1.0], atol=1e-5)
    assert np.mean([v["weight"].mean() for v in found.values()]) == pytest.approx(1.0)
    assert found["e1"]["return"] == 1.0


def test_longer_episodes_have_more_of_the_mass_as_all_transitions_are_under_one_softmax():
    weights = trajectory_weights(np.array([1.0, 1.0]), np.array([10, 30]), 0.1)
    assert weights.tolist() == [1.0, 1.0]


def test_where_all_returns_are_equal_every_step_weighs_one():
    assert all((v["weight"] == 1.0).all() for v in labelled(episodes([1.0, 1.0]), RETURN).values())


def test_advantage_weighting_forgives_a_start_that_explains_the_return():
    made = episodes([float(i) for i in range(30)])
    for i, e in enumerate(made.values()):
        e.columns[STATE][0] = (i, 0.0, 0.0)
    lucky, fair = labelled(made, RETURN), labelled(made, replace(RETURN, by="advantage"))
    spread = [np.ptp([v["weight"][0] for v in found.values()]) for found in (lucky, fair)]
    assert spread[0] > 3.0
    one = replace(made["e3"], constants={**made["e3"].constants, "success": 23.0})
    better = labelled(made | {"e3": one}, replace(RETURN, by="advantage"))
    assert max(better, key=lambda name: better[name]["weight"][0]) == "e3"


def test_steps_weigh_by_their_advantage_over_a_column_of_values():
    made = episodes([0.0])
    e = made["e0"]
    value = np.linspace(0.0, 1.0, 40)
    value[20:] -= 0.5
    e.columns["value"] = value
    settings = replace(RETURN, by="value", reward="next.reward")
    e.columns["next.reward"][:] = 0.0
    weight = labelled(made, settings)["e0"]["weight"]
    assert weight[19] == weight[:39].min() and np.argmin(advantages(e, settings)[:39]) == 19


def test_a_number_said_once_is_earned_at_the_last_step():
    e = episodes([1.0])["e0"]
    assert rewards(e, "success").tolist() == [0.0] * 39 + [1.0]


def test_rewards_that_are_not_finite_are_refused():
    e = episodes([1.0])["e0"]
    e.columns["next.reward"][3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        rewards(e, "next.reward")


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="allowed by one of"):
        WeightSettings(by="luck")
    with pytest.raises(ConfigError, match="alpha"):
        WeightSettings(alpha=0.0)


def test_what_led_to_a_takeover_counts_less():
    e = episodes([0.0])["e0"]
    e.columns["rlif_reward"] = np.where(np.arange(40) == 19, -1.0, 0.0)
    settings = replace(RETURN, by="togo", reward="rlif_reward", discount=0.9)
    weight = labelled({"e0": e}, settings)["e0"]["weight"]
    assert np.all(np.diff(weight[:20]) < 0) and np.all(weight[20:] == weight.max())
    assert advantages(e, settings)[:20] == pytest.approx(-(0.9 ** np.arange(19, -1, -1)))
