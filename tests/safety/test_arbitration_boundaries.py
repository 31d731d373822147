"""The transition table at the edges of its times: to the nanosecond, in the past and in the future."""

from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.types import Hazards, JointState, Mode, Reason, Request
from safety.arbitration import ABSURD, arbitrate, fallback_silent, joints_stale, jumped, known, sane, usable

SETTINGS = SafetySettings(policy_silent_s=0.30, teleop_silent_s=0.20)
NOW = 100_000_000_000
QD_MAX = np.array([2.0, 3.0])
S = 1_000_000_000


def _joints(age_ns: int = 0) -> JointState:
    return JointState(NOW - age_ns, np.zeros(2), np.zeros(2))


def _hazards(age_ns: int = 0, **change: object) -> Hazards:
    given = {"p_W": [[1.0, 0.0, 0.0]], "radius": [0.1], "sigma": [0.01], "speed_max": [0.1]} | change
    return Hazards(NOW - age_ns, **given)  # type: ignore[arg-type]


GOOD = ControlState(
    mode=Mode.POLICY,
    since_ns=NOW - 5 * S,
    joints=_joints(),
    hazards=_hazards(),
    chunk_ns=NOW,
    chunk_due=True,
    fallback_ns=NOW,
    score_ns=NOW,
)
HELD = replace(GOOD, mode=Mode.FALLBACK, resume=Mode.POLICY, since_ns=NOW - S // 5)
AGES = [
    (SETTINGS.joints_lost_s, lambda age: {"joints": _joints(age)}, Mode.STOP, Reason.JOINTS_STALE),
    (SETTINGS.hazards_stale_s, lambda age: {"hazards": _hazards(age)}, Mode.FALLBACK, Reason.HAZARDS_STALE),
    (SETTINGS.monitor_silent_s, lambda age: {"score_ns": NOW - age}, Mode.FALLBACK, Reason.MONITOR_SILENT),
    (SETTINGS.policy_silent_s, lambda age: {"chunk_ns": NOW - age}, Mode.FALLBACK, Reason.POLICY_SILENT),
]


def _ask(state: ControlState, request: Request | None = None) -> tuple[Mode, tuple[Reason, ...]]:
    return arbitrate(state, request, NOW, SETTINGS, QD_MAX)


@pytest.mark.parametrize(("limit_s", "aged", "to", "reason"), AGES)
def test_an_input_is_fresh_up_to_its_limit_and_not_a_nanosecond_longer(limit_s, aged, to: Mode, reason: Reason) -> None:
    limit = round(limit_s * S)
    for age in (limit, limit - 1, 0, -limit):
        assert _ask(replace(GOOD, **aged(age))) == (Mode.POLICY, ())
    for age in (limit + 1, -limit - 1, 100 * S, -100 * S):
        assert _ask(replace(GOOD, **aged(age))) == (to, (reason,))


def test_a_human_is_silent_by_the_clock_of_humans() -> None:
    limit, human = round(SETTINGS.teleop_silent_s * S), replace(GOOD, mode=Mode.TELEOP)
    assert _ask(replace(human, chunk_ns=NOW - limit)) == (Mode.TELEOP, ())
    assert _ask(replace(human, chunk_ns=NOW - limit - 1)) == (Mode.FALLBACK, (Reason.TELEOP_SILENT,))


@pytest.mark.parametrize(("mode", "limit_s"), [(Mode.POLICY, 0.30), (Mode.TELEOP, 0.20)])
def test_the_grace_of_arming_ends_to_the_nanosecond(mode: Mode, limit_s: float) -> None:
    limit = round(limit_s * S)
    waiting = replace(GOOD, mode=mode, chunk_due=False)
    assert _ask(replace(waiting, since_ns=NOW - limit))[0] is mode
    assert _ask(replace(waiting, since_ns=NOW - limit - 1))[0] is Mode.FALLBACK


def test_fallback_has_no_grace() -> None:
    fresh = replace(HELD, since_ns=NOW, chunk_due=False)
    assert _ask(fresh, Request.ARM_POLICY) == (Mode.FALLBACK, (Reason.NOT_READY, Reason.POLICY_SILENT))
    human = replace(fresh, resume=Mode.TELEOP)
    assert _ask(human, Request.ARM_TELEOP) == (Mode.FALLBACK, (Reason.NOT_READY, Reason.TELEOP_SILENT))
    assert _ask(human, Request.ARM_POLICY)[0] is Mode.POLICY


@pytest.mark.parametrize(("resume", "limit_s"), [(Mode.POLICY, 0.30), (Mode.TELEOP, 0.20)])
def test_going_back_asks_for_a_chunk_of_the_source_gone_back_to(resume: Mode, limit_s: float) -> None:
    limit = round(limit_s * S)
    request = Request.ARM_POLICY if resume is Mode.POLICY else Request.ARM_TELEOP
    held = replace(HELD, resume=resume)
    assert _ask(replace(held, chunk_ns=NOW - limit), request)[0] is resume
    assert _ask(replace(held, chunk_ns=NOW - limit - 1), request)[0] is Mode.FALLBACK


def test_fallback_ends_and_gives_up_to_the_nanosecond() -> None:
    clear, stop = round(SETTINGS.clear_s * S), round(SETTINGS.stop_after_s * S)
    assert _ask(replace(HELD, since_ns=NOW - clear + 1)) == (Mode.FALLBACK, ())
    assert _ask(replace(HELD, since_ns=NOW - clear)) == (Mode.POLICY, (Reason.RECOVERED,))
    silent = replace(HELD, chunk_due=False)
    assert _ask(replace(silent, since_ns=NOW - stop + 1)) == (Mode.FALLBACK, ())
    assert _ask(replace(silent, since_ns=NOW - stop)) == (Mode.STOP, (Reason.FALLBACK_TOO_LONG,))


def test_an_alarm_is_over_to_the_nanosecond() -> None:
    clear, held = round(SETTINGS.clear_s * S), replace(HELD, since_ns=NOW - S)
    assert _ask(replace(held, alarm_ns=NOW - clear + 1))[0] is Mode.FALLBACK
    assert _ask(replace(held, alarm_ns=NOW - clear))[0] is Mode.POLICY
    assert _ask(replace(held, alarm_ns=NOW - clear, resume=Mode.TELEOP))[0] is Mode.FALLBACK


def test_joints_and_the_fallback_are_late_to_the_nanosecond() -> None:
    stale, silent = round(SETTINGS.joints_stale_s * S), round(SETTINGS.fallback_silent_s * S)
    for age, late in ((stale, False), (stale + 1, True), (-stale, False), (-stale - 1, True)):
        assert joints_stale(replace(GOOD, joints=_joints(age)), NOW, SETTINGS) is late
        asked = _ask(replace(GOOD, mode=Mode.DISARMED, joints=_joints(age)), Request.ARM_POLICY)
        assert asked == ((Mode.DISARMED, (Reason.NOT_READY, Reason.JOINTS_STALE)) if late else (Mode.POLICY, (Reason.OPERATOR,)))
    for age, late in ((silent, False), (silent + 1, True), (-silent, False), (-silent - 1, True)):
        assert fallback_silent(replace(GOOD, fallback_ns=NOW - age), NOW, SETTINGS) is late
    assert joints_stale(replace(GOOD, joints=None), NOW, SETTINGS)
    assert fallback_silent(replace(GOOD, fallback_ns=None), NOW, SETTINGS)


@pytest.mark.parametrize("joint", [0, 1])
@pytest.mark.parametrize("passed_ns", [0, 10_000_000, 500_000_000])
def test_a_joint_jumps_that_was_measured_further_away_than_it_can_have_moved(joint: int, passed_ns: int) -> None:
    most = SETTINGS.tracking_limit + passed_ns * 1e-9 * QD_MAX[joint]
    for sign in (1.0, -1.0):
        for by, jumps in ((0.0, False), (most * (1.0 - 1e-12), False), (most * (1.0 + 1e-12), True)):
            q = np.zeros(2)
            q[joint] = sign * by
            state = replace(GOOD, before=_joints(passed_ns), joints=JointState(NOW, q, np.zeros(2)))
            assert jumped(state, SETTINGS, QD_MAX) is jumps
            assert _ask(state) == ((Mode.STOP, (Reason.TRACKING,)) if jumps else (Mode.POLICY, ()))


def test_a_jump_backwards_in_time_gets_no_allowance() -> None:
    state = replace(GOOD, before=_joints(-S // 10), joints=JointState(NOW, np.array([0.2, 0.0]), np.zeros(2)))
    assert jumped(state, SETTINGS, QD_MAX)


@pytest.mark.parametrize("odd", [np.array([np.nan, 0.0]), np.array([np.inf, 0.0]), np.zeros(3)])
def test_what_is_no_measurement_has_not_jumped(odd: np.ndarray) -> None:
    strange = JointState(NOW, odd, np.zeros(odd.size))
    for change in ({"before": None}, {"joints": None}, {"before": strange}, {"before": _joints(), "joints": strange}):
        assert not jumped(replace(GOOD, **change), SETTINGS, QD_MAX)


def test_a_disarmed_arm_may_be_put_elsewhere() -> None:
    far = JointState(NOW - 10_000_000, np.ones(2), np.zeros(2))
    assert _ask(replace(GOOD, mode=Mode.DISARMED, before=far)) == (Mode.DISARMED, ())


def test_lost_joints_are_named_once() -> None:
    lost = replace(GOOD, mode=Mode.DISARMED, joints=None)
    assert _ask(lost, Request.ARM_POLICY) == (Mode.DISARMED, (Reason.NOT_READY, Reason.JOINTS_STALE))


def test_what_is_absurd_is_as_good_as_no_number() -> None:
    assert ABSURD == 1e6
    below = np.nextafter(ABSURD, 0.0)
    for value, good in ((below, True), (-below, True), (ABSURD, False), (-ABSURD, False), (np.nan, False), (np.inf, False)):
        x = np.array([0.0, value])
        assert sane(x) is good
        assert usable(JointState(NOW, x, np.zeros(2)), 2) is good
        assert usable(JointState(NOW, np.zeros(2), x), 2) is good
        assert known(_hazards(p_W=[[0.0, 0.0, value]])) is good
        for name in ("radius", "sigma", "speed_max"):
            assert known(_hazards(**{name: [0.999 * value]})) is bool(good and value > 0.0 or value == ABSURD)


def test_sizes_may_be_zero_but_not_less() -> None:
    for name in ("radius", "sigma", "speed_max"):
        assert known(_hazards(**{name: [0.0]})) and known(_hazards(**{name: [-0.0]}))
        assert not known(_hazards(**{name: [-5e-324]}))


def test_one_joint_more_or_less_is_another_robot() -> None:
    for num in (1, 3):
        assert not usable(JointState(NOW, np.zeros(num), np.zeros(num)), 2)


def test_asking_for_the_mode_the_arm_is_in_is_no_refusal() -> None:
    assert _ask(replace(GOOD, fallback_ns=None), Request.ARM_POLICY) == (Mode.POLICY, ())
    assert _ask(replace(GOOD, mode=Mode.TELEOP, fallback_ns=None), Request.ARM_TELEOP) == (Mode.TELEOP, ())


def test_an_alarm_never_raised_is_no_alarm() -> None:
    assert _ask(replace(GOOD, alarm_ns=None, score_ns=NOW - 1))[0] is Mode.POLICY
    assert _ask(replace(GOOD, alarm_ns=NOW - 2 * S, score_ns=NOW - 1))[0] is Mode.POLICY
    assert _ask(replace(GOOD, alarm_ns=NOW - 1, score_ns=NOW - 1)) == (Mode.FALLBACK, (Reason.MONITOR_ALARM,))


def test_a_jump_counts_from_where_the_joint_was_and_its_limit_is_no_jump_yet() -> None:
    def state(was: float, now: float) -> ControlState:
        before = replace(_joints(), q=np.array([was, 0.0]))
        return replace(GOOD, before=before, joints=JointState(NOW, np.array([now, 0.0]), np.zeros(2)))

    assert not jumped(state(1.0, 1.0), SETTINGS, QD_MAX)
    assert jumped(state(-1.0, 1.0), SETTINGS, QD_MAX)
    assert not jumped(state(0.0, SETTINGS.tracking_limit), SETTINGS, QD_MAX)
