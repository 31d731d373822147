"""Everything bad at once, through `control_step`: no exception, and no command outside the limits."""

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.types import (
    ActionChunk,
    Decision,
    FailureScore,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    TickInputs,
)
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")
LAYER = SafetyLayer(SPEC, SafetySettings())
HOME = np.array(SPEC.q_home)
DT = SPEC.dt_ns * 1e-9
POISON = np.array([np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1e-310, 1e308, -1e308, 0.0, -0.0, 1e16])


class Villain:
    """Draws inputs: mostly plausible, often poisoned. `spite` in 0..1 is how often."""

    def __init__(self, seed: int, spite: float) -> None:
        self.rng, self.spite = np.random.default_rng(seed), spite

    def numbers(self, good: np.ndarray) -> np.ndarray:
        good = np.array(good, dtype=float)
        kind = self.rng.random()
        if kind < self.spite * 0.3:
            good.flat[self.rng.integers(good.size)] = self.rng.choice(POISON)
        elif kind < self.spite * 0.4:
            good[:] = self.rng.choice(POISON, size=good.shape)
        elif kind < self.spite * 0.7:
            good += self.rng.normal(size=good.shape) * 10.0 ** self.rng.integers(-3, 4)
        return good

    def chunk(self, now: int, q: np.ndarray) -> ActionChunk:
        rows, joints = int(self.rng.integers(2, 17)), 7
        if self.rng.random() < self.spite * 0.1:
            joints = int(self.rng.integers(1, 10))
        way = np.zeros((rows, joints))
        way[:, : min(joints, 7)] = q[: min(joints, 7)]
        if self.rng.random() < 0.5:
            way += np.sign(np.sin(np.arange(rows) * np.pi + 0.1))[:, None] * self.rng.uniform(0, 2)
        else:
            way += np.cumsum(self.rng.normal(size=(rows, joints)) * 0.05, axis=0)
        source = "teleop" if self.rng.random() < 0.2 else "policy"
        late = int(self.rng.integers(-200_000_000, 100_000_000)) if self.rng.random() < self.spite else 0
        return ActionChunk(now + late, now + late, int(self.rng.integers(1, 100_000_000)), self.numbers(way), source)

    def hazards(self, now: int) -> Hazards:
        num = int(self.rng.integers(0, 4))
        p = self.rng.uniform([-0.1, -0.4, 0.0], [0.6, 0.4, 0.5], (num, 3))
        figures = [self.rng.uniform(0, high, num) for high in (0.1, 0.02, 0.5)]
        if num and self.rng.random() < self.spite * 0.3:
            p, figures = self.numbers(p), [self.numbers(f) for f in figures]
        return Hazards(now - int(self.rng.integers(0, 100_000_000)), p, *figures)

    def inputs(self, now: int, q: np.ndarray, v: np.ndarray) -> TickInputs:
        draw = self.rng.random
        bad = draw() < self.spite * 0.02
        joints = JointState(now, self.numbers(q), self.numbers(v)) if bad else JointState(now, q, v)
        return TickInputs(
            joints=joints if draw() < 0.98 else None,
            chunk=self.chunk(now, q) if draw() < 0.3 else None,
            fallback=JointCommand(now, self.numbers(q), self.numbers(v) if draw() < 0.5 else None) if draw() < 0.9 else None,
            score=FailureScore(now, float(self.rng.choice([0.0, 0.2, 2.0, np.nan], p=[0.6, 0.38, 0.01, 0.01])), 1.0)
            if draw() < 0.9
            else None,
            hazards=self.hazards(now) if draw() < 0.5 else None,
            request=list(Request)[self.rng.integers(len(Request))] if draw() < 0.05 else None,
        )


def _inside(command: JointCommand, last: JointCommand | None, moved: bool) -> bool:
    q, u = command.q, command.qd
    inside = np.isfinite(q).all() and np.isfinite(u).all() and (q >= SPEC.q_min).all() and (q <= SPEC.q_max).all()
    inside = inside and (np.abs(u) <= SPEC.qd_max).all()
    if last is not None and not moved:
        inside = inside and (np.abs(u - last.qd) <= SPEC.qdd_max * DT * (1 + 1e-6)).all()
        inside = inside and bool(np.abs(q - (last.q + u * DT)).max() < 1e-12)
    return bool(inside)


@pytest.mark.parametrize(("seed", "spite"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 1.0), (4, 1.0)])
def test_no_input_moves_a_command_out_of_its_limits(seed: int, spite: float) -> None:
    villain, state, now = Villain(seed, spite), ControlState(), 10_000_000_000
    q, v, seen = HOME, np.zeros(7), set()
    for i in range(4_000):
        now += SPEC.dt_ns
        inputs = villain.inputs(now, q, v) if i else TickInputs(joints=JointState(now, q, v))
        last = state.commanded
        state, step = control_step(state, inputs, now, 0, LAYER)
        command = step.verdict.command
        moved = step.verdict.mode is Mode.DISARMED and last is not None and np.abs(command.q - last.q).max() > 0.1
        assert _inside(command, last, moved), (i, step.verdict)
        assert step.verdict.mode is not Mode.STOP or step.verdict.decision is Decision.STOP
        assert step.verdict.decision is not Decision.LIMIT or step.verdict.slack == 0.0
        q = command.q + villain.rng.normal(size=7) * 1e-3
        v = command.qd
        seen |= {step.verdict.decision, step.verdict.mode}
        if step.verdict.mode is Mode.STOP and villain.rng.random() < 0.2:
            state, _ = control_step(state, TickInputs(joints=JointState(now, q, v), request=Request.RESET), now, 0, LAYER)
    assert {Decision.LIMIT, Decision.HOLD, Mode.POLICY, Mode.FALLBACK} <= seen


def test_a_chunk_of_the_wrong_length_is_refused_by_name() -> None:
    now = 10_000_000_000
    state = ControlState(mode=Mode.POLICY, joints=JointState(now, HOME, np.zeros(7)))
    chunk = ActionChunk(now, now, 50_000_000, np.zeros((4, 6)), "policy")
    state, step = control_step(state, TickInputs(joints=state.joints, chunk=chunk), now, 0, LAYER)
    assert Reason.CHUNK_JOINTS in {v.reason for v in step.verdict.violations}
    assert state.chunks.playing is None
