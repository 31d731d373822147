"""One wish in, one safe command out: finite first, limits second, then the rows of `safety.constraints`, graded.

The wish becomes a velocity ``u_ref = qd + tracking_gain (q_wish - q_commanded)``, q_wish taken inside the position limits, then
slowed as a whole (same path) to the speed and acceleration limits. Then, for the joints that move the tool:

PASS    u_ref keeps everything.
LIMIT   slowed, as long as at least `slow_min` of u_ref is left: to the pace at which the arm can stop before the chunk leads
        out (`safety.look_ahead`), and to the largest s with ``u_brake + s (u_ref - u_brake)`` keeping every row (closed form);
        else projected: the nearest velocity that keeps every row (QP). An arm that was projected, or held, in the last tick stays
        so until u_ref itself keeps every row, and looks ahead again one tick later: the grades do not chatter.
        A joint whose measured torque is beyond its limit may only be relieved: its command goes back to where it is.
HOLD    there is no wish, it or a torque is not finite, joints are stale, tracking is lost, or the QP failed: brake on the way it
        is going. Blocked, or moved by hand while disarmed, the command walks back to where the arm is.
        Where no velocity keeps every row (a hazard came closer than the arm can accelerate away in one tick) it takes the
        one that misses the soft rows least, or, where the hard ones contradict each other too, all of them, if that is less
        than braking would miss: from rest, braking could never become a retreat. The slack of the verdict says how much.
        Also in FALLBACK once the arm stands still: nothing of a wish is carried out, and a better one may still come.
STOP    the mode is STOP: brake and stay.

Slowing comes before pushing sideways because a reactive projection is known to destroy the task. Without a wish the arm stays
still even when a hazard comes: it retreats only for a policy, a human or the fallback. Grippers obey their limits only, and in
FALLBACK keep what they hold: dropping it is no safe stop.
In FALLBACK a wish to rest (qd zero) about where braking ends is followed by braking: `tracking_gain` would creep there for long.
Inside STOP and HOLD a command is still q' = q + u dt within all limits: `JointLimits.keep` looks at every command last.
"""

from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from robot_stack.config.schema import SafetySettings
from robot_stack.errors import ContractError
from robot_stack.interfaces import Situation
from robot_stack.robot import RobotSpec
from robot_stack.types import (
    ARMED,
    Array,
    Decision,
    JointCommand,
    JointState,
    Mode,
    Reason,
    SafeCommand,
    SafetyVerdict,
    Violation,
)
from safety import qp
from safety.arbitration import ABSURD, fallback_silent, joints_stale, known, usable
from safety.braking import brake, stop_distance
from safety.constraints import Constraints, Scene
from safety.fallback import NEAR
from safety.giving_way import Answer, GivingWay
from safety.limits import Box, JointLimits, span


class Motion(NamedTuple):
    """Where the command is: position `q` (J,), velocity `v` (J,), the `box` of next velocities, the `braked` one (J,), and
    which joints are `strained`; the `measured` joints, where they can be used."""

    q: Array
    v: Array
    box: Box
    braked: Array
    strained: tuple[Violation, ...] = ()
    measured: JointState | None = None


class Filter:
    """The filter of one robot. It holds settings and tables only: same arguments, same bits."""

    def __init__(self, spec: RobotSpec, settings: SafetySettings) -> None:
        self._settings = settings
        self._limits = JointLimits(spec)
        self._constraints = Constraints(spec, settings)
        self._num_joints = len(spec.joints)
        self._arm = span(self._constraints.arm)
        self._grip = np.setdiff1d(np.arange(self._num_joints), self._constraints.arm)
        self._tau_max = spec.tau_max
        self._astray = np.full(self._num_joints, np.inf)
        self._astray[self._arm] = settings.tracking_limit
        self._ways = GivingWay(self._constraints.arm, self._grip, spec.qd_max, settings.slow_min)

    def check(self, wish: JointCommand | None, situation: Situation, now_ns: int) -> SafetyVerdict:
        """The verdict on `wish` in `situation`. Raises ContractError at a first tick without usable joints."""
        motion = self._motion(situation)
        hazards = situation.hazards if situation.hazards is not None and known(situation.hazards) else None
        path = self._constraints.look_ahead.path(situation, motion.q, now_ns) if wish and situation.mode in ARMED else None
        scene = self._constraints.at(motion.q, path, hazards, now_ns, motion.box)
        unknown = situation.hazards is not None and hazards is None and self._settings.use_filter
        refused = self._refuse(wish, situation, motion, unknown, now_ns)
        if wish is None or refused:
            decision = Decision.STOP if situation.mode is Mode.STOP else Decision.HOLD
            answer = Answer(self._still(situation, motion, refused), decision, refused)
        else:
            answer = self._grade(wish, motion, scene, situation)
            if situation.mode is Mode.FALLBACK and not answer.u.any():
                answer = answer._replace(decision=Decision.HOLD)
        return self._verdict(answer, motion, wish, situation.mode, scene, now_ns)

    def _motion(self, situation: Situation) -> Motion:
        """Go on from the last command; from the measured state at the first tick."""
        last, joints = situation.commanded, situation.joints
        measured = joints if joints is not None and usable(joints, self._num_joints) else None
        if last is not None:
            q, v = last.q, last.qd if last.qd is not None else np.zeros(self._num_joints)
        elif measured is not None:
            q, v = self._limits.settle(measured.q, measured.qd)
        else:
            raise ContractError("joints: found no finite state at the first tick, allowed one per joint; read the arm before it")
        box, strained = self._unload(self._limits.box(q, v), q, measured)
        return Motion(q, v, box, brake(v, box, self._limits.change), strained, measured)

    def _lost(self, q: Array, joints: JointState) -> bool:
        """True when the arm is not where it was sent: blocked, pushed, or its sensor jumps."""
        return bool(np.count_nonzero(np.abs(joints.q - q) > self._astray))

    def _refuse(
        self, wish: JointCommand | None, situation: Situation, motion: Motion, unknown: bool, now_ns: int
    ) -> tuple[Violation, ...]:
        """Why `wish` is not followed at all (`unknown`: the hazards are not numbers); empty: it is graded."""
        if situation.mode is Mode.DISARMED:
            return (Violation(Reason.DISARMED), *self._strained(motion))
        if situation.mode is Mode.STOP:
            return (Violation(Reason.STOPPED),)
        if situation.mode is Mode.FALLBACK and fallback_silent(situation, now_ns, self._settings):
            return (Violation(Reason.FALLBACK_SILENT),)
        if joints_stale(situation, now_ns, self._settings):
            return (Violation(Reason.JOINTS_STALE),)
        if wish is None:
            return (Violation(Reason.NO_COMMAND),)
        if wish.q.size != self._num_joints:
            return (Violation(Reason.CHUNK_JOINTS, float(wish.q.size - self._num_joints)),)
        if not isfinite(np.vdot(wish.q, wish.q)) or (wish.qd is not None and not isfinite(np.vdot(wish.qd, wish.qd))):
            return (Violation(Reason.NOT_FINITE),)
        if unknown:
            return (Violation(Reason.HAZARDS_STALE),)
        return self._strained(motion)

    def _strained(self, motion: Motion) -> tuple[Violation, ...]:
        """Blocked, or a torque that is no number: beyond every limit."""
        joints = motion.measured
        if joints is None:
            return ()
        if self._lost(motion.q, joints):
            return (Violation(Reason.TRACKING, float(np.abs(joints.q - motion.q)[self._arm].max())),)
        if joints.tau is None or isfinite(np.vdot(joints.tau, joints.tau)):
            return ()
        return (Violation(Reason.TORQUE, float("inf"), int(np.isfinite(joints.tau).argmin())),)

    def _unload(self, box: Box, q: Array, joints: JointState | None) -> tuple[Box, tuple[Violation, ...]]:
        """`box` without what strains a joint beyond its torque still more: the command `q` (J,) goes back to where the joint is.

        A row of its own for each such joint, not a HOLD: an arm that presses on a table must still give way to an obstacle.
        """
        if joints is None or joints.tau is None or not isfinite(np.vdot(joints.tau, joints.tau)):
            return box, ()
        over = np.abs(joints.tau) - self._tau_max
        if not np.count_nonzero(over > 0.0):
            return box, ()
        back = self._settings.tracking_gain * (joints.q - q)
        most = np.maximum(box.lower, np.minimum(box.upper, np.minimum(back, 0.0)))
        least = np.minimum(box.upper, np.maximum(box.lower, np.maximum(back, 0.0)))
        upper = np.where((over > 0.0) & (joints.tau > 0.0), most, box.upper)
        lower = np.where((over > 0.0) & (joints.tau < 0.0), least, box.lower)
        strained = tuple(Violation(Reason.TORQUE, float(over[i]), int(i)) for i in np.flatnonzero(over > 0.0))
        return box._replace(lower=lower, upper=upper), strained

    def _still(self, situation: Situation, motion: Motion, refused: tuple[Violation, ...]) -> Array:
        """Brake; but where the arm is blocked, walk the command back to where the arm is, within all limits."""
        if situation.joints is None or not any(v.reason is Reason.TRACKING for v in refused):
            return motion.braked
        back = self._settings.tracking_gain * (situation.joints.q - motion.q)
        back[self._grip] = 0.0
        return self._reach(back, motion.box)

    def _grade(self, wish: JointCommand, motion: Motion, scene: Scene, situation: Situation) -> Answer:
        goal = np.minimum(np.maximum(wish.q, self._limits.q_min), self._limits.q_max)
        u_ref = self._settings.tracking_gain * (goal - motion.q)
        u_ref = u_ref + wish.qd if wish.qd is not None else u_ref
        if situation.mode is Mode.FALLBACK:
            u_ref[self._arm] = motion.braked[self._arm] if self._rests(wish, motion) else u_ref[self._arm]
            u_ref[self._grip] = 0.0
        if np.count_nonzero(np.abs(u_ref) < ABSURD) < u_ref.size:
            return Answer(motion.braked, Decision.HOLD, (Violation(Reason.NOT_FINITE),))
        pushed = situation.pace == 0.0
        pace = 1.0
        if self._settings.use_filter and not pushed:
            pace = max(self._constraints.look_ahead.pace(scene.room, u_ref), self._settings.slow_min)
        slowed, violations = self._speed(u_ref, pace)
        u = self._reach(slowed, motion.box)
        wished = self._speed(u_ref, 1.0)[0] if pace < 1.0 else slowed
        full = self._reach(wished, motion.box) if pace < 1.0 else u
        violations += motion.strained + self._bounds(wish, slowed, motion)
        short = scene.rows.b - scene.rows.A @ u
        broken = (~(short <= qp.TOLERANCE)).nonzero()[0].tolist() if self._settings.use_filter else []
        left = self._ways.left(u, wished) if np.count_nonzero(u != full) else 1.0
        violations += scene.leads if left < 1.0 else ()
        if not broken:
            violations += (Violation(Reason.SLOWED, 1.0 - left),) if left < 1.0 else ()
            return Answer(u, Decision.LIMIT if violations else Decision.PASS, violations)
        violations += tuple(Violation(scene.rows.what[i][0], float(short[i]), scene.rows.what[i][1]) for i in broken)
        answer = None if pushed else self._ways.slow(u, wished, motion.braked, scene.rows, violations)
        return answer or self._ways.aside(full, motion.braked, motion.box, scene.rows, violations)

    def _rests(self, wish: JointCommand, motion: Motion) -> bool:
        """True for a wish to rest where braking now would end, as near as a fallback knows that place."""
        end = motion.q + stop_distance(motion.v, self._limits.change, self._limits.dt)
        near = np.abs(wish.q - end) <= NEAR * self._limits.qd_max
        return wish.qd is not None and not wish.qd.any() and bool(near[self._arm].all())

    def _speed(self, u_ref: Array, pace: float) -> tuple[Array, tuple[Violation, ...]]:
        """`u_ref` (J,), the arm's part at `pace`, at the speed limits: the arm slowed as a whole, each gripper alone."""
        limit = self._limits.qd_max
        u = u_ref
        if pace < 1.0:
            u = u_ref.copy()
            u[self._arm] *= pace
        share = np.abs(u) / limit
        if not np.count_nonzero(share > 1.0):
            return u, ()
        worst = int(self._constraints.arm[share[self._arm].argmax()])
        fast = u[self._arm] / max(share[worst], 1.0)
        u = np.minimum(np.maximum(u, -limit), limit)
        u[self._arm] = fast
        over = [worst] if share[worst] > 1.0 else []
        over += [int(i) for i in self._grip if share[i] > 1.0]
        return u, tuple(Violation(Reason.VELOCITY, float((share[i] - 1.0) * limit[i]), i) for i in over)

    def _reach(self, u: Array, box: Box) -> Array:
        """`u` (J,) inside `box`: the arm on its path where possible (the s nearest to 1 with s u inside), else joint by joint."""
        inside = np.minimum(np.maximum(u, box.lower), box.upper)
        if not np.count_nonzero(inside != u):
            return inside
        u = np.minimum(np.maximum(u, box.stop_lower), box.stop_upper)[self._arm]
        lower, upper = box.lower[self._arm], box.upper[self._arm]
        least, most = 0.0, inf
        for low, high, way in zip(lower.tolist(), upper.tolist(), u.tolist(), strict=True):
            if abs(way) > 1e-9:
                one, other = low / way, high / way
                least, most = max(least, min(one, other)), min(most, max(one, other))
        scaled = min(max(1.0, least), most) * u
        if 0.0 < most and not np.count_nonzero((scaled < lower) | (scaled > upper)):
            inside[self._arm] = scaled
        return inside

    def _bounds(self, wish: JointCommand, u: Array, motion: Motion) -> tuple[Violation, ...]:
        """Position and acceleration bounds that `u` (J,) breaks; a position by rad, an acceleration by rad/s^2."""
        limits, box = self._limits, motion.box
        beyond = np.maximum(wish.q - limits.q_max, limits.q_min - wish.q)
        late = np.maximum(u - box.stop_upper, box.stop_lower - u) * limits.dt
        sharp = np.abs(u - motion.v) - limits.change
        past = np.maximum(beyond, late)
        if not (np.count_nonzero(past > 0.0) or np.count_nonzero(sharp > 1e-12)):
            return ()
        positions = [Violation(Reason.POSITION, float(past[i]), int(i)) for i in np.flatnonzero(past > 0.0)]
        sharps = [Violation(Reason.ACCELERATION, float(sharp[i] / limits.dt), int(i)) for i in np.flatnonzero(sharp > 1e-12)]
        return (*positions, *sharps)

    def _verdict(
        self, answer: Answer, motion: Motion, wish: JointCommand | None, mode: Mode, scene: Scene, now_ns: int
    ) -> SafetyVerdict:
        q = motion.q + answer.u * self._limits.dt
        if not self._limits.keep(q, answer.u, motion.v):
            answer = Answer(motion.braked, Decision.HOLD, (*answer.violations, Violation(Reason.SOLVER)), "refused", answer.slack)
            q = motion.q + answer.u * self._limits.dt
            if not self._limits.keep(q, answer.u, motion.v):
                q, _ = self._limits.settle(motion.q, motion.v)
                answer = answer._replace(u=np.zeros_like(q))
        command = SafeCommand(JointCommand(now_ns, q, answer.u))
        what = (answer.decision, wish, command, answer.violations, answer.solver, answer.slack)
        return SafetyVerdict(now_ns, mode, *what, scene.margin, scene.barrier)
