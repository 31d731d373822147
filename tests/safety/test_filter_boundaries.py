"""The filter at its edges, on a gantry of two slides and a gripper whose every number is known by hand."""

from dataclasses import replace
from math import inf, nextafter

import numpy as np
import pytest

from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.types import (
    ActionChunk,
    Array,
    Decision,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    SafeCommand,
    SafetyVerdict,
    Violation,
)
from safety.arbitration import ABSURD
from safety.fallback import NEAR
from safety.filter import Filter
from safety.giving_way import Answer, GivingWay
from tests.safety.gantry import GRIP, NOW, REST, X, Z, gantry

DT = 0.01
SETTINGS = SafetySettings()
FREE = Filter(gantry(), SETTINGS)
Q = np.array([0.25, -0.5, 0.125])


def _state(q: Array = Q, v: Array = REST, off: Array = REST, tau: Array | None = None, **more) -> ControlState:
    """The command is at `q` going `v`; the arm is measured `off` from it."""
    last = SafeCommand(JointCommand(NOW - 10_000_000, q, v))
    known = {"mode": Mode.POLICY, "joints": JointState(NOW, q + off, v, tau), "commanded": last, "fallback_ns": NOW}
    return ControlState(**(known | more))


def _check(u: Array | None, state: ControlState, filter_: Filter = FREE) -> SafetyVerdict:
    """The verdict on a wish to go `u` from where the command is."""
    assert state.commanded is not None
    return filter_.check(None if u is None else JointCommand(NOW, state.commanded.q, u), state, NOW)


def _near(*violations: Violation) -> list[tuple[Reason, object, int]]:
    return [(v.reason, pytest.approx(v.amount, abs=1e-6), v.index) for v in violations]


def _found(verdict: SafetyVerdict) -> list[tuple[Reason, float, int]]:
    return [(v.reason, v.amount, v.index) for v in verdict.violations]


DISARMED, STOPPED = Violation(Reason.DISARMED), Violation(Reason.STOPPED)
NAN = np.array([0.0, np.nan, 0.0])
OLD = JointState(NOW - 50_000_001, Q, REST)
UNKNOWN = Hazards(NOW, [[np.nan, 0.0, 0.0]], [0.05], [0.0], [0.0])


@pytest.mark.parametrize(
    ("wish", "more", "why"),
    [
        (JointCommand(NOW, Q, X), {"mode": Mode.DISARMED}, DISARMED),
        (JointCommand(NOW, Q, X), {"mode": Mode.STOP, "off": 0.2 * X}, STOPPED),
        (None, {"mode": Mode.STOP, "fallback_ns": None}, STOPPED),
        (JointCommand(NOW, Q, X), {"mode": Mode.FALLBACK, "fallback_ns": NOW - 100_000_001}, Violation(Reason.FALLBACK_SILENT)),
        (JointCommand(NOW, Q, X), {"joints": OLD}, Violation(Reason.JOINTS_STALE)),
        (JointCommand(NOW, Q, X), {"joints": None}, Violation(Reason.JOINTS_STALE)),
        (None, {}, Violation(Reason.NO_COMMAND)),
        (None, {"off": 0.01 * X}, Violation(Reason.NO_COMMAND)),
        (JointCommand(NOW, np.zeros(5)), {}, Violation(Reason.CHUNK_JOINTS, 2.0)),
        (JointCommand(NOW, np.zeros(2)), {}, Violation(Reason.CHUNK_JOINTS, -1.0)),
        (JointCommand(NOW, NAN), {}, Violation(Reason.NOT_FINITE)),
        (JointCommand(NOW, NAN), {"off": 0.2 * X}, Violation(Reason.NOT_FINITE)),  # before anything that would move it
        (JointCommand(NOW, Q, NAN), {"off": 0.2 * X}, Violation(Reason.NOT_FINITE)),
        (JointCommand(NOW, NAN, REST), {}, Violation(Reason.NOT_FINITE)),
        (JointCommand(NOW, Q, NAN), {}, Violation(Reason.NOT_FINITE)),
        (JointCommand(NOW, Q, X), {"hazards": UNKNOWN}, Violation(Reason.HAZARDS_STALE)),
        (JointCommand(NOW, Q, X), {"tau": NAN}, Violation(Reason.TORQUE, inf, 1)),
        (JointCommand(NOW, Q, X), {"tau": np.array([0.0, 0.0, inf])}, Violation(Reason.TORQUE, inf, 2)),
    ],
)
def test_a_wish_that_is_not_followed_at_all_makes_the_arm_brake_and_says_why(wish, more, why: Violation) -> None:
    verdict = FREE.check(wish, _state(v=0.3 * X, **more), NOW)
    assert verdict.decision is (Decision.STOP if why is STOPPED else Decision.HOLD)
    assert verdict.violations == (why,) and verdict.solver == "none"
    np.testing.assert_allclose(verdict.command.qd, 0.2 * X, atol=1e-6)
    np.testing.assert_array_equal(verdict.command.q, Q + verdict.command.qd * FREE._limits.dt)


@pytest.mark.parametrize(
    ("more", "u"),
    [
        ({}, 0.05 * X),
        ({"fallback_ns": None}, 0.05 * X),
        ({"mode": Mode.FALLBACK, "fallback_ns": NOW - 100_000_000}, 0.05 * X),
        ({"joints": JointState(NOW - 50_000_000, Q, REST)}, 0.05 * Z),
        ({"joints": JointState(NOW, np.full(3, np.nan), REST, NAN)}, 0.05 * Z),
        ({"joints": JointState(NOW, np.zeros(2), np.zeros(2))}, 0.05 * Z),
        ({"tau": REST}, 0.05 * Z),
        ({"off": np.array([0.01, 0.01, 0.9])}, 0.05 * Z),  # a gripper that holds something is not lost
    ],
)
def test_a_harmless_wish_passes(more, u: Array) -> None:
    verdict = _check(u, _state(**more))
    assert verdict.decision is Decision.PASS and verdict.violations == ()
    np.testing.assert_array_equal(verdict.command.qd, u)
    np.testing.assert_array_equal(verdict.command.q, Q + u * FREE._limits.dt)


def test_hazards_that_are_not_numbers_matter_to_the_filter_only() -> None:
    unfiltered = Filter(gantry(), replace(SETTINGS, use_filter=False))
    assert _check(0.05 * X, _state(hazards=UNKNOWN), unfiltered).decision is Decision.PASS


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.DISARMED])
def test_an_arm_further_away_than_allowed_is_lost_and_the_command_goes_back_to_it(sign: float, mode: Mode) -> None:
    slow = Filter(gantry(), replace(SETTINGS, tracking_gain=0.25))
    at, limit = np.zeros(3), SETTINGS.tracking_limit
    edge = _state(at, off=sign * limit * X, mode=mode)
    assert Reason.TRACKING not in [v.reason for v in _check(REST, edge, slow).violations]
    lost = _check(REST, _state(at, off=sign * nextafter(limit, 1.0) * X, mode=mode), slow)
    assert lost.decision is Decision.HOLD and lost.violations[-1].reason is Reason.TRACKING
    far = _check(REST, _state(off=sign * np.array([0.2, 0.3, 0.9]), mode=mode), slow)
    assert far.violations == (*([DISARMED] if mode is Mode.DISARMED else []), Violation(Reason.TRACKING, pytest.approx(0.3)))
    np.testing.assert_allclose(far.command.qd, sign * np.array([0.05, 0.075, 0.0]))


def test_the_first_command_starts_from_the_measured_arm_and_a_last_one_without_a_speed_from_rest() -> None:
    first = replace(_state(v=0.3 * X), commanded=None)
    verdict = FREE.check(None, first, NOW)
    np.testing.assert_allclose(verdict.command.qd, 0.2 * X, atol=1e-6)
    np.testing.assert_allclose(verdict.command.q, Q + 0.002 * X, atol=1e-8)
    still = _state(commanded=SafeCommand(JointCommand(NOW, Q)), joints=JointState(NOW, Q, X))
    assert not FREE.check(None, still, NOW).command.qd.any()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("v", "behind", "wish", "u"),
    [
        (0.0, -0.005, 0.08, -0.04),  # goes back to the joint, 8 / s of 5 mm
        (0.0, -0.02, 0.08, -0.1),  # as fast as it may
        (0.0, 0.005, 0.08, 0.0),  # the joint is ahead: stays
        (0.0, -0.005, -0.08, -0.08),  # relieves it as wished
        (0.5, -0.005, 0.5, 0.4),  # brakes
        (-0.5, -0.005, -0.5, -0.5),
        (-0.5, -0.005, -0.1, -0.4),
    ],
)
def test_a_strained_joint_goes_back_to_where_it_is(sign: float, v: float, behind: float, wish: float, u: float) -> None:
    verdict = _check(sign * wish * X, _state(v=sign * v * X, off=sign * behind * X, tau=sign * 0.75 * X))
    np.testing.assert_allclose(verdict.command.qd, sign * u * X, atol=1e-6)
    assert [x for x in verdict.violations if x.reason is Reason.TORQUE] == [Violation(Reason.TORQUE, 0.25, 0)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_beside_a_strained_joint_the_others_do_as_wished(sign: float) -> None:
    u = sign * np.array([-0.08, 0.05, 0.05])
    for others in (0.5, 0.25, 0.0, -0.5):  # at the limit itself, or the other way
        verdict = _check(u, _state(off=-sign * 0.005 * np.ones(3), tau=sign * np.array([0.75, others, 9.0])))
        np.testing.assert_array_equal(verdict.command.qd, u)
        assert verdict.violations == (Violation(Reason.TORQUE, 0.25, 0),)


def test_every_strained_joint_is_named() -> None:
    verdict = _check(REST, _state(tau=np.array([-0.75, 1.5, 9.0])))
    assert verdict.decision is Decision.LIMIT
    assert verdict.violations == (Violation(Reason.TORQUE, 0.25, 0), Violation(Reason.TORQUE, 1.0, 1))
    spec = gantry()
    weak = Filter(replace(spec, joints=tuple(replace(joint, tau_max=0.5) for joint in spec.joints)), SETTINGS)
    all_of_them = _check(REST, _state(tau=np.full(3, 0.75)), weak)
    assert all_of_them.violations == tuple(Violation(Reason.TORQUE, 0.25, i) for i in range(3))


def test_a_wish_is_taken_inside_the_position_limits_and_followed_at_the_tracking_gain() -> None:
    slow = Filter(gantry(), replace(SETTINGS, tracking_gain=0.0625))
    for goal, end in ((9.0, 1.0), (-9.0, -1.0), (0.5, 0.5)):
        verdict = slow.check(JointCommand(NOW, Q + (goal - Q[0]) * X, 0.01 * Z), _state(), NOW)
        np.testing.assert_array_equal(verdict.command.qd, 0.0625 * (end - Q[0]) * X + 0.01 * Z)
        assert [(v.reason, v.index, v.amount) for v in verdict.violations] == [(Reason.POSITION, 0, 8.0)] * (goal != end)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_speed_no_joint_has_is_as_good_as_no_number(sign: float) -> None:
    absurd = _check(sign * ABSURD * X, _state(v=0.3 * X))
    assert absurd.decision is Decision.HOLD and absurd.violations == (Violation(Reason.NOT_FINITE),)
    np.testing.assert_allclose(absurd.command.qd, 0.2 * X, atol=1e-6)
    fast = _check(sign * nextafter(ABSURD, 0.0) * X, _state())
    assert fast.decision is Decision.LIMIT and fast.command.qd[0] == pytest.approx(sign * 0.1)
    assert [v.reason for v in fast.violations] == [Reason.VELOCITY, Reason.ACCELERATION], "its limits are not called slowing"


@pytest.mark.parametrize(
    ("goal", "qd", "rests"),
    [
        (0.045 * X, REST, True),  # from 1 m/s, ten ticks on
        (0.045 * X + 0.02 * X, REST, True),
        (0.045 * X - 0.02 * X + 0.01 * Z + 0.5 * GRIP, REST, True),
        (0.045 * X + 0.04 * X, REST, False),
        (0.045 * X - 0.04 * X, REST, False),
        (0.045 * X + 0.02 * Z, REST, False),
        (0.045 * X, None, False),
        (0.045 * X, 0.01 * Z, False),
        (REST, REST, False),
    ],
)
def test_in_fallback_a_wish_to_rest_where_braking_ends_is_followed_by_braking(goal: Array, qd: Array | None, rests: bool) -> None:
    verdict = FREE.check(JointCommand(NOW, Q + goal, qd), _state(v=X, mode=Mode.FALLBACK), NOW)
    assert (verdict.decision is Decision.PASS) == rests
    np.testing.assert_allclose(verdict.command.qd[0], 0.9, atol=1e-6)


def test_in_fallback_rest_is_as_near_as_a_fallback_knows_it_and_an_arm_that_rests_holds() -> None:
    near = NEAR * FREE._limits.qd_max[0]
    at = _state(np.zeros(3), mode=Mode.FALLBACK)
    for goal, moves in ((near, False), (-near, False), (nextafter(near, 1.0), True)):
        verdict = FREE.check(JointCommand(NOW, goal * X + 0.5 * GRIP, REST), at, NOW)
        assert verdict.decision is (Decision.LIMIT if moves else Decision.HOLD) and bool(verdict.command.qd.any()) == moves
        assert verdict.command.qd[2] == 0.0, "what it grips is kept"


def _chunk(u: float) -> ActionChunk:
    return ActionChunk(NOW, NOW, 50_000_000, Q + u * 0.05 * np.arange(16)[:, None] * X, "policy")


def _wall(left: float, gain: float = 100.0, **more) -> Filter:
    """A wall `left` m to the left of `Q`: h = left."""
    return Filter(gantry((1.0, 0.0, 0.0, Q[0] - left)), replace(SETTINGS, workspace_gain=gain, **more))


def _w(left: float) -> float:
    """From `safety.look_ahead`, with beta 5 m/s^2: the speed that stops within `left` m."""
    return float(np.sqrt((5.0 * DT) ** 2 + 2.0 * 5.0 * left) - 5.0 * DT)


def test_a_chunk_that_leads_out_is_slowed_to_the_pace_that_stops_before() -> None:
    verdict = _check(-X, _state(v=-0.75 * X, playing=_chunk(-1.0)), _wall(0.0625))
    w = _w(0.0625)
    assert verdict.decision is Decision.LIMIT and verdict.command.qd[0] == pytest.approx(-w, abs=1e-5)
    assert [v.reason for v in verdict.violations] == [Reason.AHEAD, Reason.SLOWED]
    assert verdict.violations[0].index == 0 and verdict.violations[0].amount == pytest.approx(0.0375, abs=1e-5)
    assert verdict.violations[1].amount == pytest.approx(1.0 - w, abs=1e-5)


def test_what_is_left_is_of_what_the_arm_could_have_done() -> None:
    verdict = _check(-X, _state(v=-X, playing=_chunk(-1.0)), _wall(0.0625))
    assert verdict.command.qd[0] == pytest.approx(-0.9)
    assert [v.reason for v in verdict.violations] == [Reason.ACCELERATION, Reason.AHEAD, Reason.SLOWED]
    assert verdict.violations[0].amount == pytest.approx((0.9 - _w(0.0625)) / DT, abs=1e-2)
    assert verdict.violations[2].amount == pytest.approx(0.1)


def test_the_look_ahead_never_asks_for_less_than_the_least_pace() -> None:
    verdict = _check(-X, _state(v=-0.2 * X, playing=_chunk(-1.0)), _wall(0.002))
    assert verdict.command.qd[0] == pytest.approx(-SETTINGS.slow_min) and verdict.violations[-1].reason is Reason.SLOWED
    assert verdict.violations[-1].amount == pytest.approx(1.0 - SETTINGS.slow_min)


@pytest.mark.parametrize(
    ("u", "more", "settings"),
    [
        (0.3, {}, {}),  # slow enough to stop in time
        (1.0, {"mode": Mode.FALLBACK}, {}),  # the fallback does not follow the chunk
        (1.0, {"pace": 0.0}, {}),  # off its path
        (1.0, {}, {"use_filter": False}),
    ],
)
def test_what_does_not_run_along_the_chunk_too_fast_is_not_slowed(u: float, more, settings) -> None:
    verdict = _check(-u * X, _state(v=-u * X, playing=_chunk(-1.0), **more), _wall(0.0625, **settings))
    assert verdict.decision is Decision.PASS and verdict.violations == ()
    np.testing.assert_array_equal(verdict.command.qd, -u * X)


BROKEN = [Violation(Reason.WORKSPACE, 0.15, point) for point in range(3)]
SHARP = Violation(Reason.ACCELERATION, 35.0, 0)


@pytest.mark.parametrize(
    ("pace", "solver", "last"),
    [(1.0, "slowed", Violation(Reason.SLOWED, 0.5)), (0.0, "daqp", Violation(Reason.PROJECTED, 0.15))],
)
def test_a_wish_through_a_wall_is_slowed_and_once_off_its_path_pushed(pace: float, solver: str, last: Violation) -> None:
    """At h = 1/16 with a gain of 8 the wall allows 0.5 m/s; from 0.55 the arm could reach 0.65 of a wish of 1."""
    wall = Filter(gantry((1.0, 0.0, 0.0, Q[0] - 0.0625)), SETTINGS)
    verdict = _check(-X + 0.02 * GRIP, _state(v=-0.55 * X, pace=pace), wall)
    assert verdict.decision is Decision.LIMIT and verdict.slack == 0.0
    np.testing.assert_allclose(verdict.command.qd, [-0.5, 0.0, 0.02], atol=1e-6)
    assert _found(verdict) == _near(SHARP, *BROKEN, last)
    assert verdict.solver == solver


def test_a_wall_counts_for_the_filter_only() -> None:
    verdict = _check(-X, _state(v=-0.95 * X), _wall(0.0625, gain=8.0, use_filter=False))
    assert verdict.decision is Decision.PASS and verdict.command.qd[0] == -1.0


def test_a_row_may_be_missed_by_the_tolerance_and_no_more() -> None:
    for miss, decision in ((1e-9, Decision.PASS), (nextafter(1e-9, 1.0), Decision.LIMIT)):
        wall = Filter(gantry((1.0, 0.0, 0.0, miss / 8.0)), SETTINGS)
        assert _check(REST, _state(np.zeros(3)), wall).decision is decision


class _Liar(GivingWay):
    """A way out that is none: beyond the speed limit."""

    def aside(self, *arguments) -> Answer:
        return Answer(np.full(3, 99.0), Decision.LIMIT, (), "daqp", 0.25)

    def slow(self, *arguments) -> None:
        return None


def test_a_command_out_of_limits_never_leaves_whoever_made_it() -> None:
    wall = Filter(gantry((1.0, 0.0, 0.0, Q[0] - 0.0625)), SETTINGS)
    wall._ways = _Liar(np.arange(2), np.array([2]), np.ones(3), 0.1)
    verdict = _check(-X, _state(v=-0.55 * X), wall)
    assert (verdict.decision, verdict.solver, verdict.slack) == (Decision.HOLD, "refused", 0.25)
    assert verdict.violations == (Violation(Reason.SOLVER),)
    np.testing.assert_allclose(verdict.command.qd, -0.45 * X, atol=1e-6)
    np.testing.assert_array_equal(verdict.command.q, Q + verdict.command.qd * wall._limits.dt)


def test_a_last_command_beyond_a_limit_is_settled_inside_it() -> None:
    verdict = _check(REST, _state(1.5 * X))
    assert (verdict.decision, verdict.solver) == (Decision.HOLD, "refused") and verdict.violations[-1].reason is Reason.SOLVER
    np.testing.assert_array_equal(verdict.command.q, X)
    assert not verdict.command.qd.any()
