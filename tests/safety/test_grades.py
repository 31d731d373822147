"""The graded response: slow on the path, push aside, evade, brake; and what a hold from any reachable state keeps."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.kinematics import Kinematics
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
    TickInputs,
)
from safety.filter import Filter
from safety.keep_out import Links, Workspace
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings()
FILTER = Filter(SPEC, SETTINGS)
KINEMATICS = Kinematics(SPEC)
LINKS, WALLS = Links(SPEC, KINEMATICS, SETTINGS), Workspace(SPEC, KINEMATICS, SETTINGS)
HOME = np.array(SPEC.q_home)
NOW = 10_000_000_000
DT_NS = SPEC.dt_ns
STEP = JointCommand(NOW, HOME + 0.001)
FAR = Hazards(NOW, [[0.6, 0.5, 0.1]], [0.05], [0.003], [0.0])


def _state(q=HOME, v=None, hazards: Hazards | None = FAR, **more) -> ControlState:
    v = np.zeros(7) if v is None else np.asarray(v, dtype=float)
    last = SafeCommand(JointCommand(NOW - DT_NS, q, v))
    known = {"mode": Mode.POLICY, "joints": JointState(NOW, q, v), "commanded": last, "hazards": hazards, "fallback_ns": NOW}
    return ControlState(**(known | more))


def _why(verdict: SafetyVerdict) -> set[Reason]:
    return {v.reason for v in verdict.violations}


def _gaps(q: Array, hazards: Hazards) -> tuple[Array, Array]:
    """h of walls (least of each link end), and of links and spheres, at `q`."""
    p_W = KINEMATICS.places(KINEMATICS.poses(q[None]))
    return WALLS.gaps(p_W).h[:, 0], LINKS.gaps(p_W, hazards, 0.0)[0].h[:, 0]


def _torque(tau, wish: JointCommand | None = STEP, **more) -> SafetyVerdict:
    """One tick of an arm whose shoulder is 0.02 rad behind its command."""
    state = replace(_state(**more), joints=JointState(NOW, HOME - 0.02 * np.eye(7)[1], np.zeros(7), tau))
    return FILTER.check(wish, state, NOW)


def test_a_joint_beyond_its_torque_is_relieved_and_the_others_go_on() -> None:
    verdict = _torque((SPEC.tau_max[1] + 0.5) * np.eye(7)[1])
    assert verdict.decision is Decision.LIMIT
    [violation] = [v for v in verdict.violations if v.reason is Reason.TORQUE]
    assert violation.index == 1 and violation.amount == pytest.approx(0.5)
    assert verdict.command.qd[1] < 0.0 < verdict.command.qd[2], "the command of the shoulder goes back to where it is"


def test_a_joint_beyond_its_torque_the_other_way_is_not_pushed_further_that_way() -> None:
    verdict = _torque(-(SPEC.tau_max[0] + 0.5) * np.eye(7)[0], JointCommand(NOW, HOME - 0.1))
    assert verdict.command.qd[0] == 0.0 and _why(verdict) >= {Reason.TORQUE}
    braking = _torque(-(SPEC.tau_max[0] + 0.5) * np.eye(7)[0], None, v=-0.5 * np.eye(7)[0])
    assert braking.command.qd[0] == pytest.approx(-0.4), "as hard as it can, and no harder"


def test_an_overloaded_arm_still_gives_way_to_an_obstacle() -> None:
    sphere = Hazards(NOW, [[0.36, 0.0, 0.3]], [0.05], [0.003], [0.2])
    verdict = _torque((SPEC.tau_max[5] + 1.0) * np.eye(7)[5], hazards=sphere)
    assert {Reason.TORQUE, Reason.KEEP_OUT} <= _why(verdict) and np.abs(verdict.command.qd[:5]).max() > 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("joint", [0, 6])
def test_a_torque_that_is_no_number_is_beyond_every_limit(bad: float, joint: int) -> None:
    assert np.isinf(SPEC.tau_max[6])
    tau = np.zeros(7)
    tau[joint] = bad
    verdict = _torque(tau)
    [violation] = verdict.violations
    assert verdict.decision is Decision.HOLD and (violation.reason, violation.index) == (Reason.TORQUE, joint)
    assert not verdict.command.qd.any()


def test_torque_at_its_limit_or_not_measured_changes_nothing() -> None:
    at_limit = np.where(np.isinf(SPEC.tau_max), 1e9, SPEC.tau_max)
    assert _torque(at_limit).decision is _torque(-at_limit).decision is _torque(None).decision is Decision.PASS


def _follow(q_goal: Array, ticks: int, hazards: Hazards = FAR, settings: SafetySettings = SETTINGS) -> list[SafetyVerdict]:
    """An ideal arm sent to `q_goal` at once."""
    filter_, state, verdicts = Filter(SPEC, settings), _state(hazards=hazards), []
    for _ in range(ticks):
        verdicts.append(filter_.check(JointCommand(NOW, q_goal), state, NOW))
        command = verdicts[-1].command
        state = replace(state, commanded=command, joints=JointState(NOW, command.q, command.qd))
    return verdicts


def test_an_arm_sent_into_itself_stops_short_of_itself() -> None:
    into = np.array([0.0, -0.9, 1.4, 0.0, 1.9, 0.0, 0.04])
    assert _gaps(into, FAR)[1][:3].min() < -0.02
    verdicts = _follow(into, 300)
    least = [_gaps(v.command.q, FAR)[1][:3].min() for v in verdicts]
    assert min(least) > -1e-3 and least[-1] < 0.03
    named = {v.index for verdict in verdicts for v in verdict.violations if v.reason is Reason.SELF_COLLISION}
    assert named and named <= {2, 3}


def _barrier(path: Path, slope: float, at: float) -> str:
    """B = slope * (tanh(base yaw) - tanh(at)): safe on one side of `at`."""
    W0, W1 = np.zeros((9, 1), np.float32), np.full((1, 1), slope, np.float32)
    W0[0, 0] = 1.0
    zero, one = np.zeros(9, np.float32), np.ones(9, np.float32)
    biases = {"b0": np.zeros(1, np.float32), "b1": np.full(1, -slope * np.tanh(at), np.float32)}
    save_file({"W0": W0, "W1": W1, "mean": zero, "std": one, **biases}, path, metadata={"delta": "0.0"})
    return str(path)


def test_several_barriers_are_kept_at_once_and_the_least_is_reported(tmp_path: Path) -> None:
    files = os.pathsep.join([_barrier(tmp_path / "left", -1.0, 0.3), _barrier(tmp_path / "right", 1.0, -0.2)])
    both = replace(SETTINGS, barrier=files)
    for goal, end in ((0.8, 0.3), (-0.8, -0.2)):
        verdicts = _follow(HOME + np.eye(7)[0] * goal, 300, settings=both)
        assert verdicts[-1].command.q[0] == pytest.approx(end, abs=0.02)
        assert min(v.barrier for v in verdicts) > -1e-3
    assert verdicts[0].barrier == pytest.approx(np.tanh(0.2), abs=1e-6)


def test_a_barrier_no_velocity_keeps_gives_way_to_geometry_and_the_slack_says_by_how_much(tmp_path: Path) -> None:
    contradiction = os.pathsep.join([_barrier(tmp_path / "left", -1.0, -0.3), _barrier(tmp_path / "right", 1.0, 0.3)])
    sphere = Hazards(NOW, [[0.42, 0.0, 0.3]], [0.05], [0.0], [0.0])
    torn = Filter(SPEC, replace(SETTINGS, barrier=contradiction))
    verdict = torn.check(JointCommand(NOW, HOME + 0.2), _state(hazards=sphere), NOW)
    assert verdict.decision is Decision.HOLD and Reason.INFEASIBLE in _why(verdict)
    assert verdict.slack > 0.0 and verdict.solver == "relaxed"
    scene = torn._constraints.at(HOME, None, sphere, NOW, torn._limits.box(HOME, np.zeros(7)))
    short = scene.rows.b - scene.rows.A @ verdict.command.qd
    assert short[scene.rows.soft].max() == pytest.approx(verdict.slack)
    assert not (short[~scene.rows.soft] > 1e-9).any()


def test_a_hazard_that_cannot_be_here_soon_costs_a_learned_barrier_nothing(tmp_path: Path) -> None:
    learned = replace(SETTINGS, barrier=_barrier(tmp_path / "left", -1.0, 0.8))
    fast = replace(FAR, speed_max=np.array([0.5]))
    wish = JointCommand(NOW, HOME + 0.001)
    assert Filter(SPEC, learned).check(wish, _state(hazards=fast), NOW).decision is Decision.PASS


def _down(seconds: float = 0.75) -> ActionChunk:
    """A straight way in joint space from home to well below the table."""
    share = np.linspace(0.0, 1.0, 16)[:, None]
    return ActionChunk(0, NOW, round(seconds / 15 * 1e9), HOME + share * np.array([0, 0.9, 0.2, 0, 0, 0, 0]), "policy")


def _play(chunk: ActionChunk, ticks: int, settings: SafetySettings = SETTINGS) -> list[tuple[ControlState, SafetyVerdict]]:
    """`chunk` through `control_step` on an ideal arm."""
    layer = SafetyLayer(SPEC, replace(settings, policy_silent_s=60.0, monitor_silent_s=60.0, hazards_stale_s=60.0))
    state = replace(_state(), score_ns=NOW, chunk_ns=NOW, fallback_ns=NOW)
    seen = []
    for i in range(ticks):
        now = NOW + i * DT_NS
        joints = JointState(now, state.commanded.q, state.commanded.qd)
        state, step = control_step(state, TickInputs(joints=joints, chunk=chunk if i == 0 else None), now, 0, layer)
        seen.append((state, step.verdict))
    return seen


def test_a_chunk_that_leads_below_the_table_is_slowed_on_its_path_before_any_row_breaks() -> None:
    slack = replace(SETTINGS, workspace_gain=20.0)
    seen = _play(_down(), 75, slack)
    first = next(i for i, (_, v) in enumerate(seen) if Reason.AHEAD in _why(v))
    state, verdict = seen[first]
    assert verdict.decision is Decision.LIMIT and Reason.SLOWED in _why(verdict)
    assert state.pace < 1.0
    way = np.array([0.9, 0.2]) / np.hypot(0.9, 0.2)
    for _, verdict in seen[first : first + 12]:
        assert np.linalg.norm(verdict.command.qd[1:3] - way * (verdict.command.qd[1:3] @ way)) < 1e-2, "on the same path"
    assert min(_gaps(v.command.q, FAR)[0].min() for _, v in seen) > -1e-3


def test_the_wish_waits_for_an_arm_that_is_slowed() -> None:
    lags = {}
    for name, share in (("waits", SETTINGS.look_ahead_share), ("runs", 0.5)):
        seen = _play(_down(), 60, replace(SETTINGS, look_ahead_share=share))
        slowed = [(s, v) for s, v in seen if Reason.SLOWED in _why(v) and v.proposed is not None]
        lags[name] = max(np.abs(v.proposed.q - v.command.q).max() for _, v in slowed)
        assert all(later.behind_ns > earlier.behind_ns for (earlier, _), (later, _) in zip(slowed, slowed[1:], strict=False))
    assert lags["waits"] < 0.06


def test_a_new_chunk_is_played_on_time_again() -> None:
    state, _ = _play(_down(), 60)[-1]
    assert state.behind_ns > 0
    now = NOW + 60 * DT_NS
    fresh = ActionChunk(now, now, 50_000_000, np.tile(state.commanded.q, (4, 1)), "policy")
    layer = SafetyLayer(SPEC, SETTINGS)
    joints = JointState(now, state.commanded.q, state.commanded.qd)
    state = replace(state, score_ns=now, hazards=replace(FAR, t_ns=now))
    state, _ = control_step(state, TickInputs(joints, fresh), now, 0, layer)
    assert state.behind_ns == 0 and state.playing is fresh


def test_an_arm_that_was_pushed_aside_follows_its_path_again_only_when_all_of_the_wish_is_safe() -> None:
    way = np.array([0, 0.9, 0.2, 0, 0, 0, 0])
    seen = []
    for depth in np.linspace(0.6, 0.9, 101):
        q, v = HOME + way * depth, way * 0.2
        wish = JointCommand(NOW, q, way)
        on_path, pushed = (_why(FILTER.check(wish, _state(q=q, v=v, pace=p), NOW)) for p in (1.0, 0.0))
        assert Reason.SLOWED not in pushed and (Reason.PROJECTED in pushed) == (Reason.WORKSPACE in on_path)
        seen += [why & {Reason.SLOWED, Reason.PROJECTED} for why in (on_path, pushed)]
    assert set() in seen and {Reason.SLOWED} in seen and {Reason.PROJECTED} in seen


def test_the_grades_do_not_chatter_on_the_way_into_an_obstacle() -> None:
    _, _, J = KINEMATICS.tip(HOME)
    goal = HOME + np.linalg.pinv(J) @ np.array([0.25, 0.02, 0, 0, 0, 0])
    rows = HOME + np.linspace(0.0, 1.0, 16)[:, None] * (goal - HOME)
    chunk = ActionChunk(0, NOW, 100_000_000, rows, "policy")
    layer = SafetyLayer(SPEC, replace(SETTINGS, policy_silent_s=60.0, monitor_silent_s=60.0, hazards_stale_s=60.0))
    state = replace(_state(hazards=Hazards(NOW, [[0.47, 0.0, 0.3]], [0.05], [0.003], [0.0])), score_ns=NOW, chunk_ns=NOW)
    grades = []
    for i in range(150):
        now = NOW + i * DT_NS
        joints = JointState(now, state.commanded.q, state.commanded.qd)
        inputs = TickInputs(joints, chunk if i == 0 else None, JointCommand(now, state.commanded.q))
        state, step = control_step(state, inputs, now, 0, layer)
        grades.append("pushed" if state.pace == 0.0 else "slowed" if state.pace < 1.0 else "free")
        assert step.verdict.margin > -1e-3
    changes = sum(one != two for one, two in zip(grades, grades[1:], strict=False))
    assert {"slowed", "pushed"} <= set(grades) and changes <= 8


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_hold_from_any_reachable_state_keeps_every_limit_and_leads_nowhere_deeper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.uniform([0.25, -0.4, 0.1], [0.6, 0.4, 0.5], (3, 3))
    hazards = Hazards(NOW, centres, rng.uniform(0.03, 0.06, 3), np.zeros(3), np.zeros(3))
    state = _state(hazards=hazards)
    goal = HOME
    for i in range(120):
        if i % 30 == 0:
            goal = rng.uniform(SPEC.q_min, SPEC.q_max)
        wish = JointCommand(NOW, goal) if i < 90 else None
        before = np.concatenate(_gaps(state.commanded.q, hazards)) if i >= 90 else None
        command = FILTER.check(wish, state, NOW).command
        assert (command.q >= SPEC.q_min).all() and (command.q <= SPEC.q_max).all()
        assert (np.abs(command.qd - state.commanded.qd) <= SPEC.qdd_max * DT_NS * 1e-9 * (1 + 1e-6)).all()
        if i == 90:
            floor = np.minimum(before, 0.0)
        if i >= 90:
            assert (np.concatenate(_gaps(command.q, hazards)) >= floor - 2e-3).all()
        state = replace(state, commanded=command, joints=JointState(NOW, command.q, command.qd))
    assert not command.qd.any()


def test_from_any_reachable_state_an_overloaded_arm_keeps_its_limits() -> None:
    rng, state = np.random.default_rng(7), _state()
    for _ in range(300):
        tau = rng.normal(size=7) * np.where(np.isinf(SPEC.tau_max), 1.0, SPEC.tau_max)
        state = replace(state, joints=JointState(NOW, state.commanded.q + rng.normal(size=7) * 0.02, np.zeros(7), tau))
        verdict = FILTER.check(JointCommand(NOW, rng.uniform(SPEC.q_min, SPEC.q_max)), state, NOW)
        command, last = verdict.command, state.commanded
        assert verdict.solver != "refused" and (command.q >= SPEC.q_min).all() and (command.q <= SPEC.q_max).all()
        assert (np.abs(command.qd - last.qd) <= SPEC.qdd_max * DT_NS * 1e-9 * (1 + 1e-6)).all()
        for i in np.flatnonzero(np.abs(tau) > SPEC.tau_max):
            assert command.qd[i] * np.sign(tau[i]) <= max(last.qd[i] * np.sign(tau[i]), 0.0) + 1e-12
        state = replace(state, commanded=command)


def test_a_wish_too_fast_to_be_meant_is_not_followed_at_all() -> None:
    verdict = FILTER.check(JointCommand(NOW, HOME, 1e7 * np.eye(7)[0]), _state(), NOW)
    assert verdict.decision is Decision.HOLD and _why(verdict) == {Reason.NOT_FINITE} and not verdict.command.qd.any()


def test_nothing_is_carried_out_on_joints_measured_too_long_ago() -> None:
    old = JointState(NOW - 51_000_000, HOME, np.zeros(7))
    assert _why(FILTER.check(STEP, replace(_state(), joints=old), NOW)) == {Reason.JOINTS_STALE}


def test_joints_that_are_no_numbers_say_nothing_about_strain() -> None:
    """The mode machine stops an arm with such joints; the filter itself has nothing to compare them with."""
    broken = JointState(NOW, np.full(7, np.nan), np.zeros(7), np.full(7, np.nan))
    assert FILTER.check(STEP, replace(_state(), joints=broken), NOW).decision is Decision.PASS
