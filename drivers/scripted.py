"""A scripted human at the teleoperation device: sees the truth, moves like a hand, puts the cube on the goal."""

from collections.abc import Callable

import numpy as np

from drivers.clearance import sphere_clearance
from drivers.reach import Reach
from drivers.sim_world import Truth
from drivers.strokes import StrokePlan
from robot_stack.clock import NS_PER_S
from robot_stack.robot import RobotSpec
from robot_stack.types import ActionChunk, Array, JointState

ROWS, ROW_S = 16, 0.05
_SPEED, _SHORTEST_S, _GRIP_S = 0.43, 0.45, 0.32
_LOW, _HIGH = 0.15, 0.32
_PICK_Z, _PLACE_Z = 0.012, 0.016
_OPEN, _SHUT = 0.040, 0.012
_KEEP_AWAY, _TOO_NEAR = 0.07, 0.01
_LAG = 0.10
_FADE_S = 0.7


class ScriptedTeleoperator:
    """A Teleoperator (16 rows at 20 Hz). `clumsy` takes the decoy instead of the cube. It waits for a held-back arm, goes over
    an obstacle in its way, waits where it can't, and grasps again what it lost."""

    def __init__(
        self, spec: RobotSpec, truth: Callable[[], Truth], joints: Callable[[], JointState], seed: int, clumsy: bool
    ) -> None:
        self._reach, self._truth, self._joints, self._clumsy = Reach(spec), truth, joints, clumsy
        self._gripper = [i for i, joint in enumerate(spec.joints) if joint.kind == "prismatic"]
        self._rng = np.random.default_rng([seed, 3])
        self._speed = _SPEED * self._rng.uniform(0.85, 1.1)
        self._plan: StrokePlan | None = None
        self._t_s = 0.0
        self._lifted_s = 0.0
        self._route_z = _LOW
        self._now_ns = 0
        self._elapsed_s = 0.0
        self._speed_of_time = 1.0
        self._last = self._upright = self._askew = np.zeros(len(spec.joints))

    @property
    def done(self) -> bool:
        """The plan has been played to its end."""
        return self._plan is not None and self._t_s >= self._plan.end_s

    def act(self, now_ns: int) -> ActionChunk:
        """The motion of the next 0.75 s; once done it stays where it is."""
        truth, joints = self._truth(), self._joints()
        if self._plan is None:
            self._begin(truth, joints, _LOW, np.zeros(4))
            self._start(joints)
        else:
            self._go_on(joints, (now_ns - self._now_ns) / NS_PER_S)
        self._now_ns = now_ns
        if self._lost(truth):
            self._begin(truth, joints, self._route_z, self._velocity())
        rows = self._rows()
        if self._blocked(rows, truth) and self._route_z == _LOW and not self._over_the_place(truth):
            self._begin(truth, joints, _HIGH, self._velocity())
            rows = self._rows()
        if self._blocked(rows, truth):
            rows = np.repeat(rows[:1], ROWS, axis=0)
            self._speed_of_time = 0.0
        self._last = rows
        return ActionChunk(now_ns, now_ns, round(ROW_S * NS_PER_S), rows, "teleop")

    def close(self) -> None:
        """A script has no device."""

    def _start(self, joints: JointState) -> None:
        """The hand may hang askew at first: what differs from the upright pose fades in the first `_FADE_S`."""
        self._upright = self._reach.solve(joints.q, self._plan_at(0.0)[:3])
        self._askew = joints.q - self._upright
        self._askew[self._gripper] = 0.0

    def _go_on(self, joints: JointState, dt_s: float) -> None:
        """Plan time passes, slower when the arm is held back (by a filter, say) and not at all while blocked."""
        row = min(round(dt_s / ROW_S), ROWS - 1)
        lag = float(np.abs(np.delete(joints.q - self._last[row], self._gripper)).max())
        self._elapsed_s += dt_s
        self._t_s += dt_s * self._speed_of_time * min(1.0, max(0.0, 2.0 - lag / _LAG))

    def _rows(self) -> Array:
        assert self._plan is not None
        self._speed_of_time = 1.0
        rows, q = np.empty((ROWS, self._upright.size)), self._upright
        for i in range(ROWS):
            place = self._plan_at(i * ROW_S)
            q = self._reach.solve(q, place[:3])
            fading = min(1.0, (self._elapsed_s + i * ROW_S) / _FADE_S)
            rows[i] = q + self._askew * (1.0 - fading**2 * (3.0 - 2.0 * fading))
            rows[i, self._gripper] = place[3]
            if i == 0:
                self._upright = q
        return rows

    def _plan_at(self, ahead_s: float) -> Array:
        assert self._plan is not None
        return self._plan.at(self._t_s + ahead_s)

    def _velocity(self) -> Array:
        assert self._plan is not None
        step = self._plan.at(self._t_s + 0.01) - self._plan.at(self._t_s - 0.01)
        return np.asarray(step / 0.02) if self._speed_of_time else np.zeros(4)

    def _target(self, truth: Truth) -> Array:
        return truth.decoy_p if self._clumsy else truth.cube_p

    def _held(self, truth: Truth, grip: float) -> bool:
        return grip < 0.7 * _OPEN and float(np.linalg.norm(self._target(truth) - truth.tip_p)) < 0.04

    def _lost(self, truth: Truth) -> bool:
        """By the plan it is being carried, but it isn't."""
        assert self._plan is not None
        carrying = self._lifted_s < self._t_s < self._opens_s
        return carrying and float(np.linalg.norm(self._target(truth) - truth.tip_p)) > 0.06

    def _over_the_place(self, truth: Truth) -> bool:
        """Already on the way down to the goal, or up from it: going over would be no help."""
        assert self._plan is not None
        return float(np.linalg.norm(self._plan.at(self._t_s)[:2] - truth.goal_p[:2])) < 0.05 and self._t_s > self._lifted_s

    def _blocked(self, rows: Array, truth: Truth) -> bool:
        """The obstacle is nearer than `_KEEP_AWAY` to the arm somewhere ahead, and going on does not lead away from it."""
        away = [sphere_clearance(self._reach.kinematics, q, truth.obstacle_p, truth.obstacle_radius) for q in rows[::3]]
        leaving = away[-1] > away[0] + 1e-3 and min(away) >= _TOO_NEAR
        return min(away) < _KEEP_AWAY and not leaving

    def _begin(self, truth: Truth, joints: JointState, route_z: float, velocity: Array) -> None:
        """A new plan from where the hand is to the goal, by way of the cube unless the hand holds it."""
        here = self._here(truth, joints)
        self._plan = plan = StrokePlan(here, velocity)
        self._t_s, self._route_z = 0.0, route_z
        goal = truth.goal_p
        if self._held(truth, float(joints.q[self._gripper].min(initial=_OPEN))):
            self._lifted_s = 0.0
            grip = _SHUT
        else:
            self._fetch(plan, self._target(truth), route_z)
            grip = _SHUT
            self._lifted_s = plan.end_s + 0.3
        self._carry(plan, goal, grip, route_z)

    def _here(self, truth: Truth, joints: JointState) -> Array:
        if self._plan is not None:
            return self._plan.at(self._t_s)
        return np.array([*truth.tip_p, joints.q[self._gripper].min(initial=_OPEN)])

    def _fetch(self, plan: StrokePlan, cube: Array, route_z: float) -> None:
        here = plan.goal
        if route_z == _HIGH:
            self._stroke(plan, np.array([here[0], here[1], route_z, _OPEN]), 0.0)
        aside = self._rng.uniform(-0.008, 0.008, 2)
        self._stroke(plan, np.array([*(cube[:2] + aside), route_z, _OPEN]), 0.4)
        self._stroke(plan, np.array([*cube[:2], _PICK_Z, _OPEN]), 0.25)
        plan.to(np.array([*cube[:2], _PICK_Z, _SHUT]), _GRIP_S)

    def _carry(self, plan: StrokePlan, goal: Array, grip: float, route_z: float) -> None:
        here = plan.goal
        self._stroke(plan, np.array([here[0], here[1], route_z, grip]), 0.1)
        self._stroke(plan, np.array([goal[0], goal[1], route_z, grip]), 0.45 if route_z == _LOW else 0.15)
        self._stroke(plan, np.array([goal[0], goal[1], _PLACE_Z, grip]), 0.2)
        self._opens_s = plan.end_s - 0.1
        plan.to(np.array([goal[0], goal[1], _PLACE_Z, _OPEN]), _GRIP_S)
        self._stroke(plan, np.array([goal[0], goal[1], _LOW, _OPEN]), 0.1)

    def _stroke(self, plan: StrokePlan, target: Array, overlap: float) -> None:
        way = float(np.linalg.norm(target[:3] - plan.goal[:3]))
        plan.to(target, max(_SHORTEST_S, 1.875 * way / self._speed), overlap)
