"""The transition table: every row, and that there is nothing but the rows."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.types import ARMED, Hazards, JointState, Mode, Reason, Request
from safety.arbitration import TABLE, Condition, arbitrate

SETTINGS = SafetySettings(policy_silent_s=0.30, teleop_silent_s=0.30)
TOO_LONG_MS = round(1e3 * SETTINGS.stop_after_s)
NOW = 100_000_000_000
QD_MAX = np.array([2.0, 3.0])
MS = 1_000_000


def _joints(age_ms: float = 5, value: float = 0.0, num: int = 2) -> JointState:
    return JointState(NOW - round(age_ms * MS), np.full(num, value), np.zeros(num))


def _hazards(age_ms: float = 50, x: float = 1.0) -> Hazards:
    return Hazards(NOW - round(age_ms * MS), [[x, 0.0, 0.0]], [0.1], [0.01], [0.1])


GOOD = ControlState(
    mode=Mode.POLICY,
    since_ns=NOW - 5_000 * MS,
    joints=_joints(),
    hazards=_hazards(),
    chunk_ns=NOW - 100 * MS,
    chunk_due=True,
    fallback_ns=NOW - 5 * MS,
    score_ns=NOW - 50 * MS,
)
HELD = replace(GOOD, mode=Mode.FALLBACK, resume=Mode.POLICY, since_ns=NOW - 200 * MS)


def _ask(state: ControlState, request: Request | None = None) -> tuple[Mode, tuple[Reason, ...]]:
    return arbitrate(state, request, NOW, SETTINGS, QD_MAX)


ROWS = [
    # from, what is changed about the good situation, asked, to, first reason
    ("DISARMED", {}, "STOP", "STOP", "OPERATOR"),
    ("POLICY", {}, "STOP", "STOP", "OPERATOR"),
    ("TELEOP", {}, "STOP", "STOP", "OPERATOR"),
    ("FALLBACK", {}, "STOP", "STOP", "OPERATOR"),
    ("STOP", {}, "RESET", "DISARMED", "OPERATOR"),
    ("POLICY", {}, "DISARM", "DISARMED", "OPERATOR"),
    ("TELEOP", {}, "DISARM", "DISARMED", "OPERATOR"),
    ("FALLBACK", {}, "DISARM", "DISARMED", "OPERATOR"),
    ("POLICY", {"joints": _joints(201)}, None, "STOP", "JOINTS_STALE"),
    ("TELEOP", {"joints": None}, None, "STOP", "JOINTS_STALE"),
    ("FALLBACK", {"joints": _joints(-201)}, None, "STOP", "JOINTS_STALE"),
    ("POLICY", {"joints": _joints(value=np.nan)}, None, "STOP", "JOINTS_NOT_FINITE"),
    ("TELEOP", {"joints": _joints(num=3)}, None, "STOP", "JOINTS_NOT_FINITE"),
    ("FALLBACK", {"joints": _joints(value=np.inf)}, None, "STOP", "JOINTS_NOT_FINITE"),
    ("POLICY", {"before": _joints(15, value=0.5)}, None, "STOP", "TRACKING"),
    ("TELEOP", {"before": _joints(15, value=-0.5)}, None, "STOP", "TRACKING"),
    ("FALLBACK", {"before": _joints(15, value=0.5)}, None, "STOP", "TRACKING"),
    ("POLICY", {"hazards": _hazards(501)}, None, "FALLBACK", "HAZARDS_STALE"),
    ("POLICY", {"hazards": _hazards(x=np.nan)}, None, "FALLBACK", "HAZARDS_STALE"),
    ("TELEOP", {"hazards": None}, None, "FALLBACK", "HAZARDS_STALE"),
    ("POLICY", {"score_ns": NOW - 401 * MS}, None, "FALLBACK", "MONITOR_SILENT"),
    ("TELEOP", {"score_ns": None}, None, "FALLBACK", "MONITOR_SILENT"),
    ("POLICY", {"alarm_ns": GOOD.score_ns}, None, "FALLBACK", "MONITOR_ALARM"),
    ("TELEOP", {"alarm_ns": GOOD.score_ns}, None, "FALLBACK", "MONITOR_ALARM"),
    ("DISARMED", {}, "ARM_POLICY", "POLICY", "OPERATOR"),
    ("TELEOP", {}, "ARM_POLICY", "POLICY", "OPERATOR"),
    ("FALLBACK", {}, "ARM_POLICY", "POLICY", "OPERATOR"),
    ("DISARMED", {}, "ARM_TELEOP", "TELEOP", "OPERATOR"),
    ("POLICY", {}, "ARM_TELEOP", "TELEOP", "OPERATOR"),
    ("FALLBACK", {}, "ARM_TELEOP", "TELEOP", "OPERATOR"),
    ("POLICY", {"chunk_ns": NOW - 301 * MS}, None, "FALLBACK", "POLICY_SILENT"),
    ("POLICY", {"chunk_due": False}, None, "FALLBACK", "POLICY_SILENT"),
    ("TELEOP", {"chunk_ns": None}, None, "FALLBACK", "TELEOP_SILENT"),
    ("TELEOP", {"chunk_due": False}, None, "FALLBACK", "TELEOP_SILENT"),
    ("FALLBACK", {"since_ns": NOW - 500 * MS}, None, "POLICY", "RECOVERED"),
    ("FALLBACK", {"since_ns": NOW - TOO_LONG_MS * MS, "chunk_due": False}, None, "STOP", "FALLBACK_TOO_LONG"),
    ("FALLBACK", {"since_ns": NOW - TOO_LONG_MS * MS, "resume": Mode.TELEOP}, None, "STOP", "FALLBACK_TOO_LONG"),
]


@pytest.mark.parametrize(("source", "change", "asked", "to", "reason"), ROWS)
def test_each_row_of_the_table_fires(source: str, change: dict, asked: str | None, to: str, reason: str) -> None:
    state = HELD if source == "FALLBACK" else replace(GOOD, mode=Mode[source])
    mode, why = _ask(replace(state, **change), Request[asked] if asked else None)
    assert (mode, why[0]) == (Mode[to], Reason[reason])


def test_every_row_of_the_table_has_its_test() -> None:
    wanted = {(source, row.to, row.reason) for row in TABLE for source in row.source}
    tested = {(Mode[source], Mode[to], Reason[reason]) for source, _, _, to, reason in ROWS}
    assert wanted == tested


def test_a_good_situation_changes_nothing() -> None:
    for mode in Mode:
        state = HELD if mode is Mode.FALLBACK else replace(GOOD, mode=mode)
        assert _ask(state) == (mode, ())


LACKS = [
    ({"joints": None}, Reason.JOINTS_STALE),
    ({"joints": _joints(51)}, Reason.JOINTS_STALE),
    ({"joints": _joints(201)}, Reason.JOINTS_STALE),
    ({"joints": _joints(value=np.nan)}, Reason.JOINTS_NOT_FINITE),
    ({"fallback_ns": None}, Reason.FALLBACK_SILENT),
    ({"fallback_ns": NOW - 101 * MS}, Reason.FALLBACK_SILENT),
    ({"score_ns": None}, Reason.MONITOR_SILENT),
    ({"alarm_ns": GOOD.score_ns}, Reason.MONITOR_ALARM),
    ({"hazards": None}, Reason.HAZARDS_STALE),
    ({"hazards": _hazards(501)}, Reason.HAZARDS_STALE),
]


@pytest.mark.parametrize(("change", "lack"), LACKS)
@pytest.mark.parametrize("request_", [Request.ARM_POLICY, Request.ARM_TELEOP])
def test_arming_is_refused_with_the_reason_while_something_is_lacking(change: dict, lack: Reason, request_: Request) -> None:
    state = replace(GOOD, mode=Mode.DISARMED, **change)
    assert _ask(state, request_) == (Mode.DISARMED, (Reason.NOT_READY, lack))


def test_stop_latches_whatever_is_asked_but_reset() -> None:
    for request in set(Request) - {Request.RESET}:
        assert _ask(replace(GOOD, mode=Mode.STOP), request)[0] is Mode.STOP
    assert _ask(replace(GOOD, mode=Mode.STOP), Request.ARM_POLICY)[1] == (Reason.NOT_READY, Reason.STOPPED)


def test_arming_gives_the_source_a_grace_before_it_counts_as_silent() -> None:
    for mode in ARMED:
        armed = replace(GOOD, mode=mode, since_ns=NOW, chunk_ns=NOW, chunk_due=False)
        assert arbitrate(armed, None, NOW, SETTINGS, QD_MAX) == (mode, ())
        for elapsed_ms, expected in ((290, mode), (310, Mode.FALLBACK)):
            later = NOW + elapsed_ms * MS
            fresh = replace(
                armed, joints=JointState(later, np.zeros(2), np.zeros(2)), score_ns=later, hazards=_hazards(-elapsed_ms)
            )
            assert arbitrate(fresh, None, later, SETTINGS, QD_MAX)[0] is expected


def test_fallback_waits_for_the_alarm_to_be_quiet() -> None:
    held = replace(HELD, since_ns=NOW - 900 * MS)
    assert _ask(replace(held, alarm_ns=NOW - 499 * MS))[0] is Mode.FALLBACK
    assert _ask(replace(held, alarm_ns=NOW - 500 * MS))[0] is Mode.POLICY


def test_fallback_from_teleop_never_resumes_by_itself() -> None:
    for elapsed_ms in range(0, TOO_LONG_MS, 50):
        assert _ask(replace(HELD, resume=Mode.TELEOP, since_ns=NOW - elapsed_ms * MS))[0] is Mode.FALLBACK


def test_going_back_to_a_silent_policy_is_refused() -> None:
    silent = replace(HELD, chunk_ns=NOW - 400 * MS)
    assert _ask(silent, Request.ARM_POLICY) == (Mode.FALLBACK, (Reason.NOT_READY, Reason.POLICY_SILENT))
    assert _ask(silent, Request.ARM_TELEOP)[0] is Mode.TELEOP


def test_all_active_faults_are_named_with_the_one_that_decided() -> None:
    mode, why = _ask(replace(GOOD, hazards=None, score_ns=None))
    assert mode is Mode.FALLBACK and why == (Reason.HAZARDS_STALE, Reason.MONITOR_SILENT)


def test_a_future_stamp_is_not_fresh() -> None:
    assert _ask(replace(GOOD, hazards=_hazards(-501)))[0] is Mode.FALLBACK
    assert _ask(replace(GOOD, score_ns=NOW + 401 * MS))[0] is Mode.FALLBACK


def _situations():
    joints = (_joints(), _joints(60), _joints(210), _joints(value=np.nan), None)
    hazards = (_hazards(), _hazards(600))
    monitor = ((NOW - 50 * MS, None), (NOW - 500 * MS, None), (NOW - 50 * MS, NOW - 50 * MS), (NOW - 50 * MS, NOW - 300 * MS))
    chunks = ((NOW - 50 * MS, True), (NOW - 50 * MS, False), (NOW - 400 * MS, True))
    spans = (100, 700, TOO_LONG_MS + 500)
    for mode, j, h, m, c, f, span, resume in product(
        Mode, joints, hazards, monitor, chunks, (NOW, NOW - 200 * MS), spans, (Mode.POLICY, Mode.TELEOP)
    ):
        resume = resume if mode is Mode.FALLBACK else Mode.DISARMED
        yield ControlState(
            mode=mode, since_ns=NOW - span * MS, resume=resume, joints=j, hazards=h, score_ns=m[0], alarm_ns=m[1],
            chunk_ns=c[0], chunk_due=c[1], fallback_ns=f,
        )  # fmt: skip


def _allowed(state: ControlState, request: Request | None) -> set[Mode]:
    """The modes that may follow, written down a second time and independently of the table."""
    joints_kept = state.joints is not None and state.joints.t_ns >= NOW - 200 * MS and np.isfinite(state.joints.q).all()
    joints_good = joints_kept and state.joints.t_ns == NOW - 5 * MS
    world_good = state.hazards.t_ns == NOW - 50 * MS and state.score_ns == NOW - 50 * MS and state.alarm_ns != state.score_ns
    ready = joints_good and world_good and state.fallback_ns == NOW
    fed = state.chunk_ns == NOW - 50 * MS and state.chunk_due
    span = (NOW - state.since_ns) // MS
    if request is Request.STOP:
        return {Mode.STOP}
    if state.mode is Mode.STOP:
        return {Mode.DISARMED} if request is Request.RESET else {Mode.STOP}
    if state.mode is Mode.DISARMED:
        asked = {Request.ARM_POLICY: Mode.POLICY, Request.ARM_TELEOP: Mode.TELEOP}.get(request)
        return {asked} if asked and ready else {Mode.DISARMED}
    if request is Request.DISARM:
        return {Mode.DISARMED}
    if not joints_kept:
        return {Mode.STOP}
    asked = {Request.ARM_POLICY: Mode.POLICY, Request.ARM_TELEOP: Mode.TELEOP}.get(request)
    if state.mode in ARMED:
        if not world_good:
            return {Mode.FALLBACK}
        if asked not in (None, state.mode) and ready:
            return {asked}
        good = fed or (state.chunk_ns == NOW - 50 * MS and span == 100)
        return {state.mode} if good else {Mode.FALLBACK}
    if asked and ready and (asked is not state.resume or fed):
        return {asked}
    quiet = state.alarm_ns is None
    if state.resume is Mode.POLICY and world_good and quiet and fed and span >= 500:
        return {Mode.POLICY}
    return {Mode.STOP} if span >= TOO_LONG_MS else {Mode.FALLBACK}


def test_nothing_but_the_listed_transitions_happens() -> None:
    count = 0
    for state in _situations():
        for request in (None, *Request):
            mode, why = _ask(state, request)
            assert {mode} == _allowed(state, request), (state, request, why)
            assert bool(why) >= (mode is not state.mode)
            count += 1
    assert count > 15_000


def test_every_condition_is_used_by_a_row() -> None:
    assert {row.when for row in TABLE} == set(Condition)


def test_absurd_and_negative_hazards_count_as_unknown() -> None:
    for change in ({"radius": [1e300]}, {"sigma": [-0.01]}, {"speed_max": [np.nan]}, {"p_W": [[1e9, 0.0, 0.0]]}):
        assert _ask(replace(GOOD, hazards=replace(_hazards(), **change)))[0] is Mode.FALLBACK
