from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.relabel import ValueSettings
from robot_stack.data.recording import STATE
from robot_stack.errors import ConfigError
from robot_stack.relabel.values import expectile, gather, label, measure
from tests.data.made_up import recording

SETTINGS = ValueSettings()


def reaching(name, seed, rest=0):
    """An arm that goes from a random place straight to another, at one speed, and rests half-way for `rest` rows."""
    random = np.random.default_rng(seed)
    start, stop = random.uniform(-1, 1, (2, 3))
    part = np.linspace(0, 1, 40 - rest)
    part = np.insert(part, (40 - rest) // 2, np.full(rest, part[(40 - rest) // 2]))
    made = recording(name, camera=False)
    return replace(made, columns={**made.columns, STATE: start + part[:, None] * (stop - start)})


def learned(made, settings=SETTINGS):
    value = gather({e.name: measure(e, settings) for e in made}, settings, None)
    return value, {e.name: label(e, settings, value) for e in made}


@pytest.fixture(scope="module")
def straight():
    return learned([reaching(f"e{i}", i) for i in range(40)])


def test_progress_grows_from_nothing_to_all_of_the_way(straight):
    _, found = straight
    for labels in found.values():
        assert labels["progress"].shape == (40,) and labels["progress"][0] <= 0.05 and labels["progress"][-1] >= 0.9
    mean = np.mean([labels["progress"] for labels in found.values()], axis=0)
    assert np.abs(mean - np.linspace(0, 1, 40)).max() < 0.12


def test_the_value_is_the_discount_to_the_power_of_the_steps_that_are_left(straight):
    value, found = straight
    mean = np.mean([labels["value"] for labels in found.values()], axis=0)
    assert np.abs(mean - 0.98 ** np.arange(39, -1, -1)).max() < 0.12 and value.error < 0.1


def test_a_rest_on_the_way_is_no_progress(straight):
    value, _ = straight
    rested = label(reaching("rested", 50, rest=15), SETTINGS, value)["progress"]
    assert np.ptp(rested[15:25]) < 0.1 < rested[-1] - rested[25]


def test_a_greater_expectile_expects_a_shorter_way():
    made = [reaching(f"e{i}", i, rest=20 * (i % 2)) for i in range(30)]
    usual, best = (learned(made, replace(SETTINGS, expectile=tau))[1] for tau in (0.5, 0.95))
    assert np.mean([best[n]["value"].mean() - usual[n]["value"].mean() for n in best]) > 0.02


def test_an_expectile_of_one_half_is_least_squares():
    random = np.random.default_rng(0)
    psi, y = random.normal(size=(50, 4)), random.normal(size=50)
    assert np.allclose(expectile(psi, y, 0.5, 0.0), np.linalg.lstsq(psi, y)[0])


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        ValueSettings(expectile=1.0)
