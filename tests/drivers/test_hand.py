"""Names of controls to a twist and a clutch: no device."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.hand import Clutch, Controls, Hand
from robot_stack.config.teleop import TeleopSettings
from robot_stack.errors import ConfigError

SETTINGS = TeleopSettings(
    kind="gamepad",
    clutch="C",
    confirm="OK",
    deadband=0.1,
    axes=["-Y", "L -R", "", "", "", "", "~T"],
)


def hand(**pushed: float) -> Hand:
    return Controls(SETTINGS).hand(pushed)


def test_an_axis_may_be_turned_round_and_two_keys_may_work_against_each_other() -> None:
    assert hand(Y=-1.0).twist[0] == 1.0
    assert (hand(L=1.0).twist[1], hand(R=1.0).twist[1], hand(L=1.0, R=1.0).twist[1]) == (1.0, -1.0, 0.0)


def test_a_push_in_the_dead_band_is_none_and_speed_grows_from_its_edge() -> None:
    assert hand(Y=0.09).twist[0] == 0.0
    assert hand(Y=-0.55).twist[0] == pytest.approx(0.5)


def test_what_is_not_there_is_not_pushed() -> None:
    idle = hand()
    assert not idle.clutch and not idle.confirm and not idle.twist.any() and idle.grip == 0.0


def test_a_toggle_closes_first_and_turns_round_with_each_press_under_the_clutch_only() -> None:
    controls = Controls(SETTINGS)
    grips = []
    for pressed in ({"T": 1.0}, {}, {"C": 1.0, "T": 1.0}, {"C": 1.0, "T": 1.0}, {"C": 1.0}, {"C": 1.0, "T": 1.0}):
        grips.append(controls.hand(pressed).grip)
    assert grips == [0.0, 0.0, -1.0, -1.0, -1.0, 1.0]


def test_a_device_is_asked_for_the_names_that_are_used() -> None:
    assert Controls(SETTINGS).names == {"C", "OK", "Y", "L", "R", "T"}


@pytest.mark.parametrize(("axes", "named"), [(["X"], "allowed one for each"), (["-", *[""] * 6], "found '-'")])
def test_controls_that_are_none_are_named(axes: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Controls(replace(SETTINGS, axes=axes))


@pytest.mark.parametrize("bad", [{"kind": "oar"}, {"release": "never"}, {"frame": "moon"}, {"deadband": 1.0}, {"period_s": 0.0}])
def test_a_setting_out_of_range_is_refused_with_what_is_allowed(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"teleop.{next(iter(bad))}: found .* allowed"):
        replace(SETTINGS, **bad)


def held(clutch: bool, confirm: bool = False) -> Hand:
    return Hand(clutch, confirm, np.zeros(6), 0.0)


def test_a_clutch_held_from_the_start_is_none_until_it_was_open() -> None:
    clutch = Clutch(SETTINGS)
    assert not clutch.feel(held(True), 0)
    assert not clutch.feel(held(False), 1)
    assert clutch.feel(held(True), 2)


def test_letting_go_holds_until_confirmed() -> None:
    clutch = Clutch(SETTINGS)
    for pressed in (False, True, False):
        clutch.feel(held(pressed), 0)
    assert not clutch.given
    clutch.feel(held(False, confirm=True), 10)
    assert clutch.given and clutch.giving(10) and not clutch.giving(10_000_000_000)


def test_letting_go_gives_back_at_once_where_that_was_asked_for() -> None:
    clutch = Clutch(replace(SETTINGS, release="policy"))
    for pressed in (False, True, False):
        clutch.feel(held(pressed), 0)
    assert clutch.given


def test_a_confirmation_that_was_held_down_all_the_time_is_none() -> None:
    clutch = Clutch(SETTINGS)
    for pressed in (False, True, False):
        clutch.feel(held(pressed, confirm=True), 0)
    assert not clutch.given


@pytest.mark.parametrize("release", ["hold", "policy"])
def test_a_lost_device_gives_nothing_back(release: str) -> None:
    clutch = Clutch(replace(SETTINGS, release=release))
    for pressed in (False, True):
        clutch.feel(held(pressed), 0)
    clutch.lost()
    for hand_ in (held(True), held(False), held(False, confirm=True)):
        assert not clutch.feel(hand_, 1)
    assert not clutch.given
