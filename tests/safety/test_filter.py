"""The filter: what it does with good, bad and dangerous wishes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.errors import ConfigError, ContractError
from robot_stack.kinematics import Kinematics
from robot_stack.types import Array, Decision, Hazards, JointCommand, JointState, Mode, Reason, SafeCommand, SafetyVerdict
from safety.fallback import BrakeAndRetreat
from safety.filter import Filter

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings()
FILTER = Filter(SPEC, SETTINGS)
KINEMATICS = Kinematics(SPEC)
HOME = np.array(SPEC.q_home)
NOW = 10_000_000_000
DT = SPEC.dt_ns * 1e-9
AHEAD = (0.42, 0.0, 0.3)
"""0.12 m in front of the hand at home, at the height of its capsule."""


def _hazard(p=(0.6, 0.5, 0.1), speed: float = 0.0, now: int = NOW) -> Hazards:
    return Hazards(now, [p], [0.05], [0.003], [speed])


def _at(q=HOME, v=None, hazards: Hazards | None = None, mode: Mode = Mode.POLICY, **more) -> ControlState:
    v = np.zeros(7) if v is None else np.asarray(v, dtype=float)
    last = SafeCommand(JointCommand(NOW - SPEC.dt_ns, q, v))
    joints = JointState(NOW, q, v)
    return ControlState(**({"mode": mode, "joints": joints, "commanded": last, "hazards": hazards, "fallback_ns": NOW} | more))


def _wish(q, qd=None) -> JointCommand:
    return JointCommand(NOW, np.asarray(q, dtype=float), None if qd is None else np.asarray(qd, dtype=float))


def _why(verdict: SafetyVerdict) -> set[Reason]:
    return {v.reason for v in verdict.violations}


def _forward(distance: float) -> Array:
    """Home with the tool `distance` m further forward (first order)."""
    _, _, J = KINEMATICS.tip(HOME)
    return HOME + np.linalg.pinv(J) @ np.array([distance, 0, 0, 0, 0, 0])


def test_a_harmless_wish_passes_bit_for_bit() -> None:
    wish = _wish(HOME + 0.001, np.full(7, 0.005))
    verdict = FILTER.check(wish, _at(hazards=_hazard()), NOW)
    u = wish.qd + SETTINGS.tracking_gain * (wish.q - HOME)
    assert verdict.decision is Decision.PASS and not verdict.violations and verdict.solver == "none"
    np.testing.assert_array_equal(verdict.command.q, HOME + u * (SPEC.dt_ns * 1e-9))
    np.testing.assert_array_equal(verdict.command.qd, u)


def test_a_wish_too_fast_is_slowed_as_a_whole() -> None:
    v = np.zeros(7)
    v[:2] = 1.95, 0.975
    verdict = FILTER.check(_wish(HOME, v * 2), _at(v=v), NOW)
    assert verdict.decision is Decision.LIMIT and Reason.VELOCITY in _why(verdict)
    assert verdict.command.qd[0] == pytest.approx(2.0) and verdict.command.qd[1] == pytest.approx(1.0)


def test_a_jump_is_reached_at_the_acceleration_limit_along_a_straight_path() -> None:
    goal = HOME + np.array([0.4, 0.2, 0.1, 0, 0, 0, 0])
    verdict = FILTER.check(_wish(goal), _at(), NOW)
    assert verdict.decision is Decision.LIMIT and Reason.ACCELERATION in _why(verdict)
    assert verdict.command.qd[0] == pytest.approx(0.1, rel=1e-6)
    np.testing.assert_allclose(verdict.command.qd[1] / verdict.command.qd[0], 0.5)


def test_one_joint_at_its_limit_does_not_hold_up_the_others() -> None:
    q = HOME.copy()
    q[0] = SPEC.q_max[0]
    verdict = FILTER.check(_wish(q + np.array([1.0, 0.001, 0, 0, 0, 0, 0])), _at(q=q), NOW)
    assert verdict.command.q[0] <= SPEC.q_max[0] and verdict.command.qd[1] > 0.005
    [violation] = [v for v in verdict.violations if v.reason is Reason.POSITION]
    assert violation.index == 0 and violation.amount == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["q", "qd"])
def test_a_wish_that_is_not_finite_makes_the_arm_brake(bad: float, where: str) -> None:
    v = np.full(7, 0.1)
    v[6] = 0.0
    q, qd = HOME.copy(), np.zeros(7)
    (q if where == "q" else qd)[2] = bad
    verdict = FILTER.check(_wish(q, qd), _at(v=v), NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.NOT_FINITE}
    assert (np.abs(verdict.command.qd) <= np.abs(v)).all() and np.abs(verdict.command.qd).max() < 0.1


def test_a_wish_that_overflows_makes_the_arm_brake() -> None:
    verdict = FILTER.check(_wish(HOME, np.full(7, 1.7e308)), _at(), NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.NOT_FINITE}
    assert np.isfinite(verdict.command.q).all()


def test_a_wish_of_the_wrong_length_makes_the_arm_brake() -> None:
    verdict = FILTER.check(_wish(np.zeros(6)), _at(), NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.CHUNK_JOINTS}


def test_nobody_wishing_makes_the_arm_brake_and_stay_even_beside_a_hazard() -> None:
    verdict = FILTER.check(None, _at(hazards=_hazard((0.36, 0.0, 0.3), speed=0.5)), NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.NO_COMMAND}
    np.testing.assert_array_equal(verdict.command.q, HOME)
    assert verdict.margin < 0


@pytest.mark.parametrize(("mode", "decision"), [(Mode.DISARMED, Decision.HOLD), (Mode.STOP, Decision.STOP)])
def test_disarmed_and_stopped_arms_stay_whatever_is_wished(mode: Mode, decision: Decision) -> None:
    verdict = FILTER.check(_wish(HOME + 0.1), _at(mode=mode), NOW)
    assert verdict.decision is decision
    np.testing.assert_array_equal(verdict.command.q, HOME)
    moving = FILTER.check(None, _at(mode=mode, v=np.full(7, 0.15)), NOW)
    assert 0.0 < np.abs(moving.command.qd[:6]).max() < 0.15


def test_a_wish_towards_a_hazard_is_slowed_along_its_path() -> None:
    goal = _forward(0.4)
    direction = (goal - HOME) / np.linalg.norm(goal - HOME)
    v = _forward(0.2) - HOME
    verdict = FILTER.check(_wish(HOME, v), _at(v=v * 0.65, hazards=_hazard((0.455, 0.0, 0.3))), NOW)
    assert verdict.decision is Decision.LIMIT and {Reason.KEEP_OUT, Reason.SLOWED} <= _why(verdict)
    assert verdict.solver == "slowed" and verdict.slack == 0.0
    np.testing.assert_allclose(verdict.command.qd / np.linalg.norm(verdict.command.qd), direction, atol=1e-9)


def _run(wish_of, hazard_of, ticks: int, settings: SafetySettings = SETTINGS, q0=HOME, mode: Mode = Mode.POLICY):
    """An ideal arm that does as commanded. Yields each verdict; asserts every joint limit on the way."""
    filter_, q, v = Filter(SPEC, settings), q0, np.zeros(7)
    for i in range(ticks):
        now = NOW + i * SPEC.dt_ns
        state = replace(_at(q=q, v=v, hazards=hazard_of(i, now), mode=mode), joints=JointState(now, q, v), fallback_ns=now)
        verdict = filter_.check(wish_of(i, q), state, now)
        command = verdict.command
        assert (command.q >= SPEC.q_min).all() and (command.q <= SPEC.q_max).all()
        assert (np.abs(command.qd) <= SPEC.qd_max).all() and (np.abs(command.qd - v) <= SPEC.qdd_max * DT * (1 + 1e-6)).all()
        q, v = command.q, command.qd
        yield verdict


def _clearance(q: Array, p) -> float:
    points, _ = KINEMATICS.points(q)
    along = np.linspace(0, 1, 200)[:, None]
    segments = zip(points[0:-1:2], points[1:-1:2], SPEC.capsules, strict=True)
    return min(float(np.linalg.norm(a + along * (b - a) - p, axis=1).min()) - c.radius - 0.05 for a, b, c in segments)


def test_an_arm_sent_through_a_sphere_never_touches_it() -> None:
    goal, nearest = _forward(0.25), np.inf
    decisions = set()
    for verdict in _run(lambda i, q: _wish(goal), lambda i, now: _hazard(AHEAD, now=now), 400):
        nearest = min(nearest, _clearance(verdict.command.q, AHEAD))
        decisions.add(verdict.decision)
    assert 0.015 < nearest < 0.08
    assert Decision.LIMIT in decisions and Decision.HOLD not in decisions


def test_without_the_filter_the_same_wish_goes_through() -> None:
    goal = _forward(0.25)
    unsafe = replace(SETTINGS, use_filter=False)
    verdicts = list(_run(lambda i, q: _wish(goal), lambda i, now: _hazard(AHEAD, now=now), 400, unsafe))
    assert min(_clearance(v.command.q, AHEAD) for v in verdicts) < 0.0
    assert min(v.margin for v in verdicts) < 0.0


def test_a_sphere_coming_at_a_still_wish_makes_the_arm_retreat_within_its_limits() -> None:
    speed, start = 0.15, np.array([0.55, 0.0, 0.3])

    def where(i: int) -> Array:
        return start - np.array([min(i * DT * speed, 0.22), 0, 0])

    verdicts = list(_run(lambda i, q: _wish(HOME), lambda i, now: _hazard(where(i), speed=speed, now=now), 300))
    clearance = [_clearance(v.command.q, where(i)) for i, v in enumerate(verdicts)]
    assert min(clearance) > 0.01
    assert np.abs(verdicts[-1].command.q - HOME).max() > 0.1
    assert {Reason.KEEP_OUT, Reason.PROJECTED} <= set().union(*(_why(v) for v in verdicts))


def test_the_same_sphere_makes_the_arm_retreat_in_fallback_and_keep_what_it_grips() -> None:
    q0 = HOME.copy()
    q0[6] = 0.01
    wish = HOME.copy()

    def hazard(i: int, now: int) -> Hazards:
        return _hazard((0.55 - min(i * DT * 0.15, 0.22), 0.0, 0.3), speed=0.15, now=now)

    *_, last = _run(lambda i, q: _wish(wish), hazard, 300, q0=q0, mode=Mode.FALLBACK)
    assert np.abs(last.command.q - HOME)[:6].max() > 0.1
    assert last.command.q[6] == 0.01


def test_a_sphere_that_appears_on_the_arm_is_left_as_fast_as_the_arm_can_and_the_slack_says_so() -> None:
    verdicts = list(_run(lambda i, q: _wish(HOME), lambda i, now: _hazard((0.36, 0.0, 0.3), now=now), 100))
    assert verdicts[0].decision is Decision.HOLD and Reason.INFEASIBLE in _why(verdicts[0]) and verdicts[0].slack > 0
    assert verdicts[-1].margin > -0.01 > verdicts[0].margin


def test_squeezed_between_spheres_nothing_is_hidden_and_no_limit_broken() -> None:
    def hazard(i: int, now: int) -> Hazards:
        return Hazards(
            now, [[0.36, 0.0, 0.3], [0.24, 0.0, 0.3], [0.3, 0.07, 0.3], [0.3, -0.07, 0.3]], [0.05] * 4, [0.0] * 4, [0.1] * 4
        )

    verdicts = list(_run(lambda i, q: _wish(HOME), hazard, 50))
    assert all(v.decision is Decision.HOLD and v.slack > 0 and Reason.INFEASIBLE in _why(v) for v in verdicts[:10])


def test_a_wish_below_the_table_stops_above_it() -> None:
    down = HOME + np.array([0, 0.9, 0.2, 0, 0, 0, 0])
    *_, last = _run(lambda i, q: _wish(down), lambda i, now: None, 400)
    assert KINEMATICS.points(last.command.q)[0][2:, 2].min() > 0.0
    assert Reason.WORKSPACE in _why(last)


def test_the_gripper_moves_on_while_the_arm_is_held_back() -> None:
    goal = _forward(0.25)
    goal[6] = 0.0
    *_, last = _run(lambda i, q: _wish(goal), lambda i, now: _hazard(AHEAD, now=now), 200)
    assert last.command.q[6] < 1e-3
    assert np.abs(goal - last.command.q)[:6].max() > 0.1


def test_an_arm_that_is_blocked_holds_and_the_command_comes_back_to_it() -> None:
    q, v, blocked = HOME + 0.0, np.zeros(7), HOME - np.eye(7)[0] * 0.5
    for i in range(200):
        state = replace(_at(q=q, v=v), joints=JointState(NOW, blocked, np.zeros(7)))
        verdict = FILTER.check(_wish(HOME + 0.3), state, NOW)
        if i == 0:
            assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.TRACKING}
        if verdict.decision is not Decision.HOLD:
            break
        assert (np.abs(verdict.command.qd - v) <= SPEC.qdd_max * DT * (1 + 1e-6)).all()
        q, v = verdict.command.q, verdict.command.qd
    assert np.abs(q - blocked)[:6].max() <= SETTINGS.tracking_limit


def test_a_disarmed_arm_that_was_moved_by_hand_or_seems_to_be_is_commanded_to_where_it_is_within_all_limits() -> None:
    moved = HOME - np.eye(7)[0] * 0.5
    q, v = HOME, np.zeros(7)
    for i in range(200):
        state = replace(_at(q=q, v=v, mode=Mode.DISARMED), joints=JointState(NOW, moved, np.zeros(7)))
        verdict = FILTER.check(None, state, NOW)
        assert verdict.decision is Decision.HOLD
        if i == 0:
            assert _why(verdict) == {Reason.DISARMED, Reason.TRACKING}
        assert (np.abs(verdict.command.qd - v) <= SPEC.qdd_max * DT * (1 + 1e-6)).all()
        q, v = verdict.command.q, verdict.command.qd
    assert np.abs(q - moved).max() <= SETTINGS.tracking_limit and not v.any()


def test_the_first_command_is_where_the_arm_is() -> None:
    state = replace(_at(mode=Mode.DISARMED), commanded=None)
    np.testing.assert_array_equal(FILTER.check(None, state, NOW).command.q, HOME)


def test_without_usable_joints_there_is_no_first_command() -> None:
    for joints in (None, JointState(NOW, np.full(7, np.nan), np.zeros(7)), JointState(NOW, np.zeros(3), np.zeros(3))):
        with pytest.raises(ContractError, match="first tick"):
            FILTER.check(None, ControlState(joints=joints), NOW)


def test_a_silent_fallback_is_not_followed() -> None:
    state = replace(_at(mode=Mode.FALLBACK), fallback_ns=NOW - 101_000_000)
    verdict = FILTER.check(_wish(HOME + 0.1), state, NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.FALLBACK_SILENT}
    np.testing.assert_array_equal(verdict.command.q, HOME)


def test_a_fallback_that_wants_rest_brakes_the_arm_and_holds_once_it_stands_still() -> None:
    q, v, seen = HOME.copy(), np.eye(7)[0] * 1.0, []
    fallback = BrakeAndRetreat(SPEC, SETTINGS)
    for _ in range(15):
        wish = fallback.command(JointState(NOW, q, v), NOW)
        verdict = FILTER.check(wish, _at(q=q, v=v, mode=Mode.FALLBACK, hazards=_hazard()), NOW)
        q, v = verdict.command.q, verdict.command.qd
        seen.append((verdict.decision, bool(v.any())))
    ticks = round(1.0 / (SPEC.qdd_max[0] * DT))
    assert seen[: ticks - 1] == [(Decision.PASS, True)] * (ticks - 1)
    assert seen[ticks:] == [(Decision.HOLD, False)] * (len(seen) - ticks)


def test_a_fallback_that_retreats_is_graded_as_any_wish() -> None:
    verdict = FILTER.check(_wish(HOME + 0.001), _at(mode=Mode.FALLBACK, hazards=_hazard()), NOW)
    assert verdict.decision is Decision.PASS and verdict.command.qd[0] > 0.0


def test_an_arm_that_rests_in_fallback_still_gives_way_to_an_obstacle() -> None:
    rest, close = _wish(HOME, np.zeros(7)), _hazard((0.36, 0.0, 0.3), speed=0.2)
    verdict = FILTER.check(rest, _at(mode=Mode.FALLBACK, hazards=close), NOW)
    assert Reason.KEEP_OUT in _why(verdict) and verdict.command.qd.any()


def test_hazards_that_are_not_finite_hold_the_arm() -> None:
    verdict = FILTER.check(_wish(HOME + 0.01), _at(hazards=_hazard((np.nan, 0, 0))), NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.HAZARDS_STALE}


def _barrier(path: Path, slope: float, delta: float = 0.0, dim: int = 9) -> str:
    """B = slope * tanh(base yaw): safe on the left for slope > 0."""
    W0, W1 = np.zeros((dim, 1), np.float32), np.full((1, 1), slope, np.float32)
    W0[0, 0] = 1.0
    zero, one = np.zeros(dim, np.float32), np.ones(dim, np.float32)
    biases = {"b0": np.zeros(1, np.float32), "b1": np.zeros(1, np.float32)}
    save_file({"W0": W0, "W1": W1, "mean": zero, "std": one, **biases}, path, metadata={"delta": str(delta)})
    return str(path)


def test_the_learned_barrier_is_not_crossed(tmp_path: Path) -> None:
    learned = replace(SETTINGS, barrier=_barrier(tmp_path / "b.safetensors", slope=1.0, delta=0.2))
    q0 = HOME + np.eye(7)[0] * 0.6
    verdicts = list(_run(lambda i, q: _wish(HOME), lambda i, now: _hazard(now=now), 500, learned, q0))
    assert min(v.barrier for v in verdicts) > -1e-3
    assert verdicts[0].barrier == pytest.approx(np.tanh(0.6) - 0.2, abs=1e-6)
    assert verdicts[-1].command.q[0] == pytest.approx(np.arctanh(0.2), abs=0.02)
    assert Reason.BARRIER in set().union(*(_why(v) for v in verdicts))


def test_without_a_hazard_the_learned_barrier_is_silent(tmp_path: Path) -> None:
    learned = Filter(SPEC, replace(SETTINGS, barrier=_barrier(tmp_path / "b.safetensors", slope=1.0)))
    assert learned.check(_wish(HOME), _at(), NOW).barrier == np.inf


def test_a_barrier_of_another_robot_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 5 inputs, allowed 9"):
        Filter(SPEC, replace(SETTINGS, barrier=_barrier(tmp_path / "b.safetensors", slope=1.0, dim=5)))


def test_same_arguments_same_bits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = HOME + rng.normal(size=7) * 0.02 * np.array([1, 1, 1, 1, 1, 1, 0])
        state = _at(q=q, v=rng.normal(size=7) * 0.05, hazards=_hazard(AHEAD, speed=0.1))
        wish = _wish(q + rng.normal(size=7) * 0.3)
        one, two = FILTER.check(wish, state, NOW), Filter(SPEC, SETTINGS).check(wish, state, NOW)
        assert one.command.q.tobytes() == two.command.q.tobytes() and one.command.qd.tobytes() == two.command.qd.tobytes()
        assert (one.decision, one.violations, one.solver, one.slack) == (two.decision, two.violations, two.solver, two.slack)
        assert (one.margin, one.barrier) == (two.margin, two.barrier)
