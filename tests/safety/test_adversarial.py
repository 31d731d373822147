"""Everything bad at once, through `control_step`: no exception, and no command outside the limits.

The small version of `robot-stack bench adversarial`, which does the same a million times.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.adversary import ATTACKS, Adversary, Record, excess
from benchmarks.bench_adversarial import summed
from benchmarks.harness import ledger_rows
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState, control_step
from robot_stack.types import ActionChunk, Decision, JointCommand, JointState, Mode, Reason, SafeCommand, TickInputs
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")
LAYER = SafetyLayer(SPEC, SafetySettings())
HOME = np.array(SPEC.q_home)
DT = SPEC.dt_ns * 1e-9
NOW = 10_000_000_000


@pytest.mark.parametrize("seed", range(10))
def test_no_stream_moves_a_command_out_of_its_limits(seed: int) -> None:
    record = Adversary(SPEC, LAYER, 1_000_000 + seed).run(100)
    assert not record.exceptions and record.streams == 100
    found = excess(record, SPEC)
    assert found.out_of_limits == 0, found
    assert found.position <= 0.0 and found.velocity < 0.0 and found.not_as_integrated < 1e-12


def test_the_streams_reach_every_mode_decision_and_attack() -> None:
    record = Adversary(SPEC, LAYER, 1).run(500)
    assert {f"attack {name}" for name in ATTACKS} <= set(record.seen)
    assert {f"mode {mode.value}" for mode in Mode} <= set(record.seen)
    assert {f"decision {decision.value}" for decision in Decision} <= set(record.seen)
    assert {"solver daqp", "solver relaxed", "solver closed_form"} <= set(record.seen)


def _sent(*commands: tuple[np.ndarray, np.ndarray]) -> Record:
    q, u = zip(*commands, strict=True)
    return Record(list(q), list(u), [False] + [True] * (len(q) - 1))


@pytest.mark.parametrize("j", range(7), ids=SPEC.joint_names)
def test_the_judge_of_the_streams_sees_each_limit_broken(j: int) -> None:
    one, rest = np.eye(7)[j], np.zeros(7)
    assert excess(_sent((HOME, rest), (HOME, rest)), SPEC).out_of_limits == 0
    for beyond in (1e-12, np.nan, np.inf):
        edge = np.where(one > 0, SPEC.q_max + beyond, HOME)
        assert excess(_sent((edge, rest)), SPEC).out_of_limits == 1
    fast = one * SPEC.qd_max * (1 + 1e-9)
    assert excess(_sent((HOME, fast)), SPEC).out_of_limits == 1
    sharp = one * SPEC.qdd_max * DT * (1 + 1e-5)
    assert excess(_sent((HOME, rest), (HOME + sharp * DT, sharp)), SPEC).out_of_limits == 1
    assert excess(_sent((HOME, rest), (HOME + one * 1e-9, rest)), SPEC).out_of_limits == 1


class Careless:
    """A safety that passes every wish on."""

    dt_ns = SPEC.dt_ns

    def arbitrate(self, situation, request, now_ns):
        return LAYER.arbitrate(situation, request, now_ns)

    def check(self, wish, situation, now_ns):
        verdict = LAYER.check(wish, situation, now_ns)
        if wish is None or wish.qd is None or wish.q.size != 7:
            return verdict
        return replace(verdict, command=SafeCommand(JointCommand(now_ns, wish.q, wish.qd)))


def test_the_streams_break_a_safety_that_passes_every_wish_on() -> None:
    with np.errstate(all="ignore"):
        record = Adversary(SPEC, Careless(), 0).run(50)
        assert record.exceptions or excess(record, SPEC).out_of_limits > 10


def test_a_run_that_was_cut_off_goes_on_after_its_last_whole_batch(tmp_path: Path) -> None:
    file, seen = tmp_path / "run.jsonl", {"attack nan": 3, "mode stop": 2}
    one = {"seed": 0, "streams": 3, "ticks": 9, "seconds": 0.1, "out_of_limits": 0, "exceptions": 1, "first": ["x"], "seen": seen}
    one |= {"position": 0.0, "velocity": -1.0, "acceleration": -2.0, "not_as_integrated": 0.0}
    file.write_text(json.dumps(one) + "\n" + json.dumps(one | {"seed": 1, "velocity": -0.5}) + "\n" + '{"seed": 2, "str')
    assert [row["seed"] for row in ledger_rows(file)] == [0, 1] and ledger_rows(tmp_path / "none.jsonl") == []
    extra = summed(ledger_rows(file)).extra
    assert (extra["streams"], extra["ticks"], extra["exceptions"], extra["out_of_limits"]) == (6, 18, 2, 0)
    assert extra["worst_velocity"] == -0.5 and extra["attack"] == {"nan": 6} and extra["mode"] == {"stop": 4}


EDGES = (0.0, 2.3e-16, -2.3e-16, 1e-12, -1e-12, 1e-9, -1e-9, 1e-6, -1e-6, 1e-3, -1e-3, 1.0)
"""Shares of a limit either side of it, one unit in the last place among them."""


@pytest.mark.parametrize("j", range(7), ids=SPEC.joint_names)
def test_wishes_around_each_limit_of_each_joint_end_inside_it(j: int) -> None:
    for limit, away in ((SPEC.q_max[j], 1.0), (SPEC.q_min[j], -1.0)):
        for edge in EDGES:
            at, goal = (np.where(np.arange(7) == j, x, HOME) for x in (limit - away * 0.01, limit * (1.0 + edge) + away * edge))
            speed = away * SPEC.qd_max[j] * (1.0 + edge) * np.eye(7)[j]
            state = ControlState(joints=JointState(NOW, at, np.zeros(7)))
            state, step = control_step(state, TickInputs(), NOW, 0, LAYER)
            state = replace(state, mode=Mode.FALLBACK, resume=Mode.POLICY, since_ns=NOW, chunk_ns=NOW)
            sent = [(step.verdict.command.q, step.verdict.command.qd)]
            for now in range(NOW + SPEC.dt_ns, NOW + 8 * SPEC.dt_ns, SPEC.dt_ns):
                inputs = TickInputs(joints=JointState(now, *sent[-1]), fallback=JointCommand(now, goal, speed))
                state, step = control_step(state, inputs, now, 0, LAYER)
                sent.append((step.verdict.command.q, step.verdict.command.qd))
            assert excess(_sent(*sent), SPEC).out_of_limits == 0, (limit, edge)


def test_a_chunk_of_the_wrong_length_is_refused_by_name() -> None:
    state = ControlState(mode=Mode.POLICY, joints=JointState(NOW, HOME, np.zeros(7)))
    chunk = ActionChunk(NOW, NOW, 50_000_000, np.zeros((4, 6)), "policy")
    state, step = control_step(state, TickInputs(joints=state.joints, chunk=chunk), NOW, 0, LAYER)
    assert Reason.CHUNK_JOINTS in {v.reason for v in step.verdict.violations}
    assert state.chunks.playing is None
