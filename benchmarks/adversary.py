"""An adversary against `control_step`: short streams of hostile commands, clocks and perception, and a check of what came out.

A stream is 2 to 5 ticks in which one source (policy, human or fallback) sends one kind of bad commands (`ATTACKS`) while one
thing is wrong with the clock (`CLOCKS`) and one with perception (`FAULTS`), or nothing, and an operator may press any button.
Streams follow one another on the same arm: position, velocity and last command are carried over, and every `SESSION` streams
a new arm starts from a measured state that may lie outside its limits. Before each stream the source is armed afresh.

What is sent to the motors is checked here from the robot's data sheet alone (`excess`), not by `safety.limits`.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from robot_stack.chunks import ChunkBuffer
from robot_stack.control import ControlState, control_step
from robot_stack.interfaces import Safety
from robot_stack.robot import RobotSpec
from robot_stack.types import ActionChunk, Array, FailureScore, Hazards, JointCommand, JointState, Mode, Request, Step, TickInputs

ATTACKS = (
    "nan", "infinite", "denormal", "absurd", "jump", "oscillation", "limit", "beyond", "lunge",
    "wrong_order", "replayed", "late", "early", "joint_count", "same_times", "silent",
)  # fmt: skip
CLOCKS = (*("steady",) * 6, "stalls", "backwards", "leaps", "still")
FAULTS = (
    *("none",) * 12, "joints_not_finite", "joints_absurd", "joints_count", "joints_jump", "joints_silent",
    "hazards_not_finite", "hazards_absurd", "hazards_touching", "hazards_many", "hazards_stale", "score_not_finite",
    "score_alarm", "effort",
)  # fmt: skip
SOURCES = (Mode.POLICY, Mode.POLICY, Mode.TELEOP, Mode.FALLBACK)
SESSION = 50
HUGE = np.array([1e16, -1e16, 1e100, -1e100, 1e300, -1e300, sys.float_info.max, -sys.float_info.max])
TINY = np.array([0.0, -0.0, 5e-324, -5e-324, 1e-310, -1e-310, sys.float_info.min])
ODD = np.concatenate((HUGE, TINY, [np.nan, np.inf, -np.inf]))
ULPS = np.array([-1e-6, -1e-9, -1e-12, 0.0, 1e-12, 1e-9, 1e-6])


class Stream(NamedTuple):
    """What is wrong in one stream: the source, its attack, the clock and the perception."""

    source: Mode
    attack: str
    clock: str
    fault: str


@dataclass
class Record:
    """What was sent: positions and velocities, and whether each follows the one before it (a new arm does not)."""

    q: list[Array] = field(default_factory=list)
    u: list[Array] = field(default_factory=list)
    follows: list[bool] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    false_moves: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    streams: int = 0


class Adversary:
    """One seed, one endless sequence of streams against `safety` on a robot of `spec`."""

    def __init__(self, spec: RobotSpec, safety: Safety, seed: int) -> None:
        self.spec, self.safety, self.rng = spec, safety, np.random.default_rng(seed)
        self.num = len(spec.joints)
        self.state, self.now_ns = ControlState(), 10_000_000_000
        self.sent: ActionChunk | None = None

    def run(self, streams: int) -> Record:
        """`streams` of them, and all they sent."""
        record = Record()
        for i in range(streams):
            if i % SESSION == 0:
                self._new_arm(record)
            stream = self._draw()
            record.streams += 1
            record.seen.update(("source " + stream.source.value, "attack " + stream.attack, "clock " + stream.clock))
            record.seen["fault " + stream.fault] += 1
            self._arm(stream.source)
            for inputs in self._inputs(stream):
                try:
                    self._tick(inputs, record)
                except Exception as error:  # whatever it is, it is a finding
                    record.exceptions.append(f"stream {i} {stream}: {error!r}")
                    self._new_arm(record)
                    break
        return record

    def _draw(self) -> Stream:
        a, b, c, d = self.rng.random(4)
        picked = (x[int(r * len(x))] for x, r in ((SOURCES, a), (ATTACKS, b), (CLOCKS, c), (FAULTS, d)))
        return Stream(*picked)  # type: ignore[arg-type]

    def _new_arm(self, record: Record) -> None:
        spec, draw = self.spec, self.rng
        q = draw.uniform(spec.q_min - 0.05, spec.q_max + 0.05)
        joints = JointState(self.now_ns, q, draw.uniform(-1.5, 1.5, self.num) * spec.qd_max)
        self.state = ControlState()
        self._tick(TickInputs(joints=joints), record, follows=False)

    def _arm(self, mode: Mode) -> None:
        """`mode` has just been entered and everything it needs is fresh, as after an operator's reset and arming."""
        now, last = self.now_ns, self.state.commanded
        assert last is not None
        self.state = replace(
            self.state, mode=mode, since_ns=now, resume=Mode.POLICY if mode is Mode.FALLBACK else Mode.DISARMED,
            joints=JointState(now, last.q, last.qd), hazards=self._hazards(""), chunks=ChunkBuffer(), chunk_ns=now,
            fallback=last, fallback_ns=now, alarm_ns=None, score_ns=now,
        )  # fmt: skip
        self.sent = None

    def _tick(self, inputs: TickInputs, record: Record, follows: bool = True) -> None:
        self.state, step = control_step(self.state, inputs, self.now_ns, 0, self.safety)
        command = step.verdict.command
        if follows and step.verdict.mode is Mode.DISARMED and not self._integrated(step, record.q[-1]):
            follows = False  # somebody moved the disarmed arm: the command must be where it was measured
            record.false_moves += not self._where_measured(step)
        record.q.append(command.q)
        record.u.append(command.qd)  # type: ignore[arg-type]
        record.follows.append(follows)
        record.seen["mode " + step.verdict.mode.value] += 1
        record.seen["decision " + step.verdict.decision.value] += 1
        record.seen["solver " + step.verdict.solver] += 1

    def _integrated(self, step: Step, last: Array) -> bool:
        """True when the command is one tick further than the `last` one (J,)."""
        command = step.verdict.command
        return command.qd is not None and bool(np.abs(command.q - last - command.qd * self.spec.dt_ns * 1e-9).max() <= 1e-12)

    def _where_measured(self, step: Step) -> bool:
        """True when a disarmed arm is commanded to where it is measured, moving on as it does for this tick."""
        joints, command = self.state.joints, step.verdict.command
        if joints is None or command.qd is None:
            return False
        inside = np.clip(joints.q, self.spec.q_min, self.spec.q_max)
        return bool(np.abs(command.q - command.qd * self.spec.dt_ns * 1e-9 - inside).max() < 1e-12)

    def _inputs(self, stream: Stream) -> Iterator[TickInputs]:
        requests = list(Request)
        for i in range(int(self.rng.integers(2, 6))):
            self.now_ns += self._step_ns(stream.clock)
            a, b, c, d = self.rng.random(4)
            wishes = stream.attack != "silent" and (i == 0 or a < 0.6)
            rows = self._rows(stream.attack) if wishes else None
            fallback = stream.source is Mode.FALLBACK
            yield TickInputs(
                joints=self._joints(stream.fault),
                chunk=self._chunk(rows, stream) if rows is not None and not fallback else None,
                fallback=self._fallback(rows if fallback else None, stream.attack),
                score=self._score(stream.fault) if b < 0.8 else None,
                hazards=self._hazards(stream.fault) if c < 0.6 else None,
                request=requests[int(d * 20 * len(requests))] if d < 0.05 else None,
            )

    def _step_ns(self, clock: str) -> int:
        dt_ns = self.spec.dt_ns
        if clock == "steady":
            return dt_ns
        if clock == "still":
            return 0
        far = int(10.0 ** self.rng.uniform(3, 10))
        return dt_ns + far if clock == "leaps" else -far if clock == "backwards" else dt_ns + far % (20 * dt_ns)

    def _rows(self, attack: str) -> Array:
        """T rows of wishes (T, J) that start at the arm and go wrong as `attack` says."""
        draw, spec, last = self.rng, self.spec, self.state.commanded
        assert last is not None
        num = int(draw.integers(2, 9))
        rows = last.q + np.arange(num)[:, None] * draw.normal(size=self.num) * 10.0 ** draw.uniform(-4, 0)
        j = int(draw.integers(self.num))
        if attack in ("nan", "infinite"):
            rows[int(draw.integers(num)) :, j] = np.nan if attack == "nan" else draw.choice((np.inf, -np.inf))
        elif attack in ("denormal", "absurd"):
            rows[:, j:] = draw.choice(TINY if attack == "denormal" else HUGE, size=(num, self.num - j))
        elif attack == "jump":
            rows[1:] += draw.normal(size=self.num) * 10.0 ** draw.uniform(-2, 4)
        elif attack == "oscillation":
            rows[:] = np.where(np.arange(num)[:, None] % 2 == 0, spec.q_min, spec.q_max)
        elif attack == "limit":
            rows[:] = np.where(draw.random(self.num) < 0.5, spec.q_min, spec.q_max) + draw.choice(ULPS, size=(num, self.num))
        elif attack == "beyond":
            rows[:] = np.where(draw.random(self.num) < 0.5, spec.q_min - 1.0, spec.q_max + 1.0)
        elif attack == "lunge":
            rows += np.arange(num)[:, None] * draw.normal(size=self.num)
        elif attack == "joint_count":
            rows = np.resize(rows, (num, int(draw.choice([1, self.num - 1, self.num + 1, 2 * self.num]))))
        return rows

    def _chunk(self, rows: Array, stream: Stream) -> ActionChunk:
        now, draw, attack = self.now_ns, self.rng, stream.attack
        source = "teleop" if stream.source is Mode.TELEOP else "policy"
        t_obs, t0, dt = now, now, int(10.0 ** draw.uniform(6, 8.3))
        if attack == "replayed" and self.sent is not None:
            return self.sent
        if attack == "wrong_order" and self.sent is not None:
            t_obs = self.sent.t_obs_ns - int(draw.integers(0, 2)) * self.spec.dt_ns
        if attack in ("late", "early"):
            t0 += int(10.0 ** draw.uniform(5, 10)) * (-1 if attack == "late" else 1)
            t_obs = t0 if draw.random() < 0.5 else now
        if attack == "same_times":
            dt, t_obs = 1, now if draw.random() < 0.5 else self.now_ns - self.spec.dt_ns
        self.sent = ActionChunk(t_obs, t0, dt, rows, source)
        return self.sent

    def _fallback(self, rows: Array | None, attack: str) -> JointCommand | None:
        """The fallback's command: the last row of `rows`, sometimes with a speed as bad; without rows where the arm is."""
        last, draw = self.state.commanded, self.rng.random()
        assert last is not None
        if rows is None:
            return None if attack == "silent" or draw < 0.1 else JointCommand(self.now_ns, last.q, np.zeros(self.num))
        odd = self.rng.choice(ODD, rows.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            speeds = (None, np.zeros(rows.shape[1]), rows[-1] - rows[0], odd)
        return JointCommand(self.now_ns, rows[-1], speeds[int(draw * 4)])

    def _joints(self, fault: str) -> JointState | None:
        last, draw = self.state.commanded, self.rng
        assert last is not None and last.qd is not None
        q, v, tau = last.q + draw.normal(size=self.num) * 1e-3, last.qd.copy(), None
        if fault == "joints_silent":
            return None
        if fault == "joints_count":
            return JointState(self.now_ns, q[:-1], v[:-1])
        if fault == "joints_not_finite":
            (q if draw.random() < 0.5 else v)[int(draw.integers(self.num))] = draw.choice((np.nan, np.inf, -np.inf))
        if fault == "joints_absurd":
            (q if draw.random() < 0.5 else v)[int(draw.integers(self.num))] = draw.choice(HUGE)
        if fault == "joints_jump":
            q += draw.normal(size=self.num) * 10.0 ** draw.uniform(-2, 1)
        if fault == "effort":
            tau = draw.choice(ODD, self.num) if draw.random() < 0.5 else draw.normal(size=self.num) * 100.0
        return JointState(self.now_ns, q, v, tau)

    def _hazards(self, fault: str) -> Hazards:
        draw = self.rng
        num = 24 if fault == "hazards_many" else int(draw.integers(0, 3))
        p, sizes = draw.uniform((-0.1, -0.4, 0.0), (0.6, 0.4, 0.5), (num, 3)), draw.uniform(0.0, (0.1, 0.02, 0.5), (num, 3))
        if fault == "hazards_touching":
            p, sizes = np.array([[0.15, 0.0, 0.4]]) * draw.uniform(0, 1.5), np.array([[0.3, 0.05, 1.0]])
        if fault in ("hazards_not_finite", "hazards_absurd") and num:
            spoiled = p if draw.random() < 0.5 else sizes
            spoiled[int(draw.integers(num)), int(draw.integers(3))] = draw.choice(ODD)
        late = int(10.0 ** draw.uniform(6, 10)) if fault == "hazards_stale" else int(draw.integers(0, 50_000_000))
        return Hazards(self.now_ns - late, p, *sizes.T)

    def _score(self, fault: str) -> FailureScore:
        if fault == "score_not_finite":
            return FailureScore(self.now_ns, float(self.rng.choice(ODD)), float(self.rng.choice((1.0, np.nan, np.inf))))
        return FailureScore(self.now_ns, 2.0 if fault == "score_alarm" else 0.2, 1.0)


class Excess(NamedTuple):
    """How many commands are out of limits, and the worst beyond a limit: rad (m), rad/s, rad/s^2; negative is room left."""

    out_of_limits: int
    position: float
    velocity: float
    acceleration: float
    not_as_integrated: float


def excess(record: Record, spec: RobotSpec) -> Excess:
    """From positions and velocities sent alone: ``q <= q_max``, ``|u| <= qd_max``, ``|u - u_last| / dt <= qdd_max (1 + 1e-6)``
    and ``q = q_last + u dt`` to 1e-12; whatever is not a number is out."""
    dt = spec.dt_ns * 1e-9
    q, u = np.array(record.q), np.array(record.u, dtype=float)
    step = np.array(record.follows[1:], dtype=bool)
    position = np.maximum(q - spec.q_max, spec.q_min - q).max(axis=1)
    velocity = (np.abs(u) - spec.qd_max).max(axis=1)
    faster = (np.abs(np.diff(u, axis=0)) / dt - spec.qdd_max)[step]
    moved = np.abs(np.diff(q, axis=0) - u[1:] * dt)[step].max(axis=1)
    out = ~((position <= 0.0) & (velocity <= 0.0))
    out[1:][step] |= ~((faster <= 1e-6 * spec.qdd_max).all(axis=1) & (moved <= 1e-12))
    worst = (float(x.max(initial=-np.inf)) for x in (position, velocity, faster, moved))
    return Excess(int(out.sum()) + record.false_moves, *worst)
