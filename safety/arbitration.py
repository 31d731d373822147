"""Who may move the arm: one transition table, read from top to bottom, first match wins; no row, no change.

Operator first, then the arm's own joints, then whatever the armed source needs, then recovery. STOP is left by RESET only, and
FALLBACK resumes by itself only to POLICY: a human has to take the arm back. Arming gives a source `policy_silent_s`
(`teleop_silent_s`) to send its first chunk; until a row is due the arm holds.

The situation holds arrival times only, so "gone for clear_s" means: everything is fine now, FALLBACK has lasted at least clear_s,
and the monitor has raised no alarm for clear_s.
"""

from enum import Enum
from typing import NamedTuple

import numpy as np

from robot_stack.clock import nanoseconds
from robot_stack.config.schema import SafetySettings
from robot_stack.interfaces import Situation
from robot_stack.types import ARMED, Array, Hazards, JointState, Mode, Reason, Request

ABSURD = 1e6
"""No joint, distance (m) or speed is this large: such a figure is as good as NaN."""


class Condition(Enum):
    """What a row of the table may ask for."""

    ASKED_STOP = "operator asks STOP"
    ASKED_RESET = "operator asks RESET"
    ASKED_DISARM = "operator asks DISARM"
    POLICY_READY = "operator asks ARM_POLICY and nothing is lacking"
    TELEOP_READY = "operator asks ARM_TELEOP and nothing is lacking"
    JOINTS_LOST = "no joint state for joints_lost_s, or one from the future"
    JOINTS_NOT_FINITE = "joint state not finite or of the wrong length"
    JOINTS_JUMPED = "a joint measured further from where it was before than it can have moved"
    HAZARDS_STALE = "hazards missing, too old, from the future, or not finite"
    MONITOR_SILENT = "no score for monitor_silent_s"
    MONITOR_ALARM = "the last score is an alarm"
    SOURCE_SILENT = "no good chunk for too long, or no row due after the grace of arming"
    CLEAR = "came from POLICY, nothing wrong any more, clear_s over"
    TOO_LONG = "FALLBACK has lasted stop_after_s"


class Row(NamedTuple):
    """In one of the modes `source`, when `when` holds, go to `to`, because of `reason`."""

    source: frozenset[Mode]
    when: Condition
    to: Mode
    reason: Reason


MOVING = ARMED | {Mode.FALLBACK}

TABLE = (
    Row(MOVING | {Mode.DISARMED}, Condition.ASKED_STOP, Mode.STOP, Reason.OPERATOR),
    Row(frozenset({Mode.STOP}), Condition.ASKED_RESET, Mode.DISARMED, Reason.OPERATOR),
    Row(MOVING, Condition.ASKED_DISARM, Mode.DISARMED, Reason.OPERATOR),
    Row(MOVING, Condition.JOINTS_LOST, Mode.STOP, Reason.JOINTS_STALE),
    Row(MOVING, Condition.JOINTS_NOT_FINITE, Mode.STOP, Reason.JOINTS_NOT_FINITE),
    Row(MOVING, Condition.JOINTS_JUMPED, Mode.STOP, Reason.TRACKING),
    Row(ARMED, Condition.HAZARDS_STALE, Mode.FALLBACK, Reason.HAZARDS_STALE),
    Row(ARMED, Condition.MONITOR_SILENT, Mode.FALLBACK, Reason.MONITOR_SILENT),
    Row(ARMED, Condition.MONITOR_ALARM, Mode.FALLBACK, Reason.MONITOR_ALARM),
    Row(frozenset({Mode.DISARMED, Mode.TELEOP, Mode.FALLBACK}), Condition.POLICY_READY, Mode.POLICY, Reason.OPERATOR),
    Row(frozenset({Mode.DISARMED, Mode.POLICY, Mode.FALLBACK}), Condition.TELEOP_READY, Mode.TELEOP, Reason.OPERATOR),
    Row(frozenset({Mode.POLICY}), Condition.SOURCE_SILENT, Mode.FALLBACK, Reason.POLICY_SILENT),
    Row(frozenset({Mode.TELEOP}), Condition.SOURCE_SILENT, Mode.FALLBACK, Reason.TELEOP_SILENT),
    Row(frozenset({Mode.FALLBACK}), Condition.CLEAR, Mode.POLICY, Reason.RECOVERED),
    Row(frozenset({Mode.FALLBACK}), Condition.TOO_LONG, Mode.STOP, Reason.FALLBACK_TOO_LONG),
)

FAULTS = {
    Condition.JOINTS_LOST: Reason.JOINTS_STALE,
    Condition.JOINTS_NOT_FINITE: Reason.JOINTS_NOT_FINITE,
    Condition.JOINTS_JUMPED: Reason.TRACKING,
    Condition.HAZARDS_STALE: Reason.HAZARDS_STALE,
    Condition.MONITOR_SILENT: Reason.MONITOR_SILENT,
    Condition.MONITOR_ALARM: Reason.MONITOR_ALARM,
}
"""Conditions that are a fault in any mode, and their reason code."""

_ASKED = {
    Request.STOP: Condition.ASKED_STOP,
    Request.RESET: Condition.ASKED_RESET,
    Request.DISARM: Condition.ASKED_DISARM,
}
_READY = {
    Request.ARM_POLICY: (Mode.POLICY, Condition.POLICY_READY),
    Request.ARM_TELEOP: (Mode.TELEOP, Condition.TELEOP_READY),
}


def arbitrate(
    situation: Situation, request: Request | None, now_ns: int, settings: SafetySettings, qd_max: Array
) -> tuple[Mode, tuple[Reason, ...]]:
    """The mode of this tick and why it differs from the last. A refused arming keeps the mode: NOT_READY and what is lacking.

    `qd_max` (J,) rad/s or m/s: the speed limits of the joints.
    """
    mode = situation.mode
    faults = _faults(situation, now_ns, settings, qd_max)
    lacking = _lacking(situation, request, faults, now_ns, settings)
    active = set(faults) | _events(situation, request, faults, lacking, now_ns, settings)
    for row in TABLE:
        if mode in row.source and row.when in active:
            others = tuple(FAULTS[c] for c in faults if row.when in FAULTS and FAULTS[c] is not row.reason)
            return row.to, (row.reason, *others)
    if request in _READY and _READY[request][0] is not mode:
        return mode, (Reason.NOT_READY, *lacking)
    return mode, ()


def _faults(situation: Situation, now_ns: int, settings: SafetySettings, qd_max: Array) -> tuple[Condition, ...]:
    joints, hazards = situation.joints, situation.hazards
    holds = {
        Condition.JOINTS_LOST: joints is None or _aged(joints.t_ns, now_ns, settings.joints_lost_s),
        Condition.JOINTS_NOT_FINITE: joints is not None and not usable(joints, qd_max.size),
        Condition.JOINTS_JUMPED: jumped(situation, settings, qd_max),
        Condition.HAZARDS_STALE: hazards is None or _aged(hazards.t_ns, now_ns, settings.hazards_stale_s) or not known(hazards),
        Condition.MONITOR_SILENT: _aged(situation.score_ns, now_ns, settings.monitor_silent_s),
        Condition.MONITOR_ALARM: situation.alarm_ns is not None and situation.alarm_ns == situation.score_ns,
    }
    return tuple(condition for condition, true in holds.items() if true)


def usable(joints: JointState, num_joints: int) -> bool:
    """True when every measured position and velocity is a sane number and there are `num_joints` of them."""
    return joints.q.size == num_joints and sane(joints.q) and sane(joints.qd)


def jumped(situation: Situation, settings: SafetySettings, qd_max: Array) -> bool:
    """True when a joint was measured further from where it was before than `tracking_limit` and its speed limit (J,) explain.

    An arm that is blocked or pushed gets astray little by little; this is a sensor that lies, and no command may follow it.
    """
    joints, before = situation.joints, situation.before
    if joints is None or before is None or not (usable(joints, qd_max.size) and usable(before, qd_max.size)):
        return False
    passed_s = max(0, joints.t_ns - before.t_ns) * 1e-9
    return bool(np.count_nonzero(np.abs(joints.q - before.q) > settings.tracking_limit + passed_s * qd_max))


def sane(x: Array) -> bool:
    """True when the length of `x` (any shape) is a number below `ABSURD`, and so is every figure in it. Warns of nothing."""
    return bool(np.vdot(x, x) < ABSURD * ABSURD)


def known(hazards: Hazards) -> bool:
    """True when every figure of every hazard is a sane number, and no radius, sigma or speed is negative."""
    sizes = np.concatenate((hazards.radius, hazards.sigma, hazards.speed_max))
    return sane(sizes) and sane(hazards.p_W) and not np.count_nonzero(sizes < 0.0)


def _aged(t_ns: int | None, now_ns: int, limit_s: float) -> bool:
    """Never, longer ago than `limit_s`, or further in the future than that: a wrong clock is no freshness."""
    return t_ns is None or abs(now_ns - t_ns) > nanoseconds(limit_s)


def _silent(situation: Situation, now_ns: int, settings: SafetySettings) -> bool:
    source = situation.resume if situation.mode is Mode.FALLBACK else situation.mode
    limit_s = settings.teleop_silent_s if source is Mode.TELEOP else settings.policy_silent_s
    grace = situation.mode in ARMED and now_ns - situation.since_ns <= nanoseconds(limit_s)
    return _aged(situation.chunk_ns, now_ns, limit_s) or not (situation.chunk_due or grace)


def _lacking(
    situation: Situation, request: Request | None, faults: tuple[Condition, ...], now_ns: int, settings: SafetySettings
) -> tuple[Reason, ...]:
    """What stands in the way of arming as asked."""
    lacking = tuple(FAULTS[condition] for condition in faults)
    if Condition.JOINTS_LOST not in faults and joints_stale(situation, now_ns, settings):
        lacking = (Reason.JOINTS_STALE, *lacking)
    if fallback_silent(situation, now_ns, settings):
        lacking = (*lacking, Reason.FALLBACK_SILENT)
    if situation.mode is Mode.STOP:
        lacking = (*lacking, Reason.STOPPED)
    back = request in _READY and situation.mode is Mode.FALLBACK and _READY[request][0] is situation.resume
    if back and _silent(situation, now_ns, settings):
        lacking = (*lacking, Reason.TELEOP_SILENT if situation.resume is Mode.TELEOP else Reason.POLICY_SILENT)
    return lacking


def joints_stale(situation: Situation, now_ns: int, settings: SafetySettings) -> bool:
    """True when where the arm is was not measured for `joints_stale_s`: nothing is carried out on such a guess."""
    return situation.joints is None or _aged(situation.joints.t_ns, now_ns, settings.joints_stale_s)


def fallback_silent(situation: Situation, now_ns: int, settings: SafetySettings) -> bool:
    """True when fallback_node has not spoken for `fallback_silent_s`: its last command must not be used."""
    return _aged(situation.fallback_ns, now_ns, settings.fallback_silent_s)


def _events(
    situation: Situation,
    request: Request | None,
    faults: tuple[Condition, ...],
    lacking: tuple[Reason, ...],
    now_ns: int,
    settings: SafetySettings,
) -> set[Condition]:
    events = {_ASKED[request]} if request in _ASKED else set()
    if request in _READY and not lacking:
        events.add(_READY[request][1])
    lasted_ns = now_ns - situation.since_ns
    silent = _silent(situation, now_ns, settings)
    if situation.mode in ARMED and silent:
        events.add(Condition.SOURCE_SILENT)
    if situation.mode is Mode.FALLBACK:
        clear_ns = nanoseconds(settings.clear_s)
        quiet = situation.alarm_ns is None or now_ns - situation.alarm_ns >= clear_ns
        if situation.resume is Mode.POLICY and quiet and lasted_ns >= clear_ns and not (faults or silent):
            events.add(Condition.CLEAR)
        if lasted_ns >= nanoseconds(settings.stop_after_s):
            events.add(Condition.TOO_LONG)
    return events
