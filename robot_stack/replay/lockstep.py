"""Lock-step runs: the code of the robot on a virtual clock, faster than real time.

The same `control_step`, `observe`, monitor, detector, fallback and policy as in the ROS graph; only the messages are
calls. The world never waits for the policy: a chunk computed on the observation of t arrives at t + latency, latency
drawn from what was measured on a live run.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from drivers.scenario import Scenario, drive
from drivers.sim_world import SimWorld
from robot_stack.clock import NS_PER_S, nanoseconds
from robot_stack.control import ControlState, control_step
from robot_stack.data.wire import ChoiceNote, note_of
from robot_stack.interfaces import FallbackController, Policy, Safety, Teleoperator
from robot_stack.observe import ObserveLimits, observe
from robot_stack.ongoing import Ongoing
from robot_stack.types import (
    ActionChunk,
    CameraFrame,
    Choice,
    Decision,
    FailureScore,
    Hazards,
    JointState,
    Mode,
    Request,
    TickInputs,
)
from safety.detector import Detector
from safety.monitor import Monitor, MonitorState

SETTLE_S = 0.2
"""From the reset of the world to arming."""

Sink = Callable[[str, int, object], None]
"""Where the values of a run go: topic, time (ns), value; `LogWriter.write_value` is one."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each part runs (Hz) and how long its answer takes (s); `policy_latency_s` holds measured samples."""

    camera_hz: float = 30.0
    monitor_hz: float = 15.0
    policy_hz: float = 5.0
    teleop_hz: float = 10.0
    monitor_latency_s: float = 0.01
    policy_latency_s: tuple[float, ...] = (0.04,)


@dataclass(frozen=True)
class Crew:
    """Everybody on the robot for one run. One of `policy` and `teleoperator` moves the arm; with both, the human takes over from
    the policy `take_over_s` after arming. `monitor` None: off."""

    world: SimWorld
    safety: Safety
    fallback: FallbackController
    detector: Detector
    monitor: Monitor | None
    policy: Policy | None = None
    teleoperator: Teleoperator | None = None
    instruction: str = ""
    rates: Rates = field(default_factory=Rates)
    take_over_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended. `clearance` m is the smallest true distance arm-obstacle (< 0: touched), `approach` m the smallest
    while a joint was commanded to move: an arm that stands still can be run into, and no filter can help that.

    `limited` and `held` are shares of the armed ticks; `fallback_s` and `stop_s` say when those modes were first entered.
    """

    seed: int
    scenario: str
    success: bool
    clearance: float
    approach: float
    duration_s: float
    final_mode: Mode
    limited: float
    held: float
    fallback_s: float | None
    stop_s: float | None

    @property
    def violation(self) -> bool:
        """The arm touched the keep-out obstacle while it moved."""
        return self.approach < 0.0


class Episode:
    """One lock-step episode: `run` it once. State that nodes keep in their processes lives in the fields."""

    def __init__(self, crew: Crew, scenario: Scenario, seed: int, sink: Sink | None = None) -> None:
        self._crew, self._scenario, self._seed, self._sink = crew, scenario, seed, sink
        self._rng = np.random.default_rng([seed, 1])
        self._state = ControlState()
        self._human = crew.teleoperator if crew.policy is None else None
        self._frames: dict[str, CameraFrame] = {}
        self._joints: deque[JointState] = deque(maxlen=round(0.3 * NS_PER_S / crew.safety.dt_ns))
        self._pending: list[tuple[int, Choice, ChoiceNote]] = []
        self._scores: list[tuple[int, FailureScore]] = []
        self._choice: ChoiceNote | None = None
        self._ongoing = Ongoing()
        self._monitor_state = MonitorState()
        self._detector_state = crew.detector.start()
        self._hazards: Hazards | None = None
        self._due = {"camera": 0, "monitor": 0, "policy": 0, "teleop": 0}
        self._steps: list[tuple[int, Mode, Decision]] = []
        self._clearance = self._approach = np.inf

    def run(self, limit_s: float = 12.0) -> Outcome:
        """Reset the world, arm after `SETTLE_S` (then the scenario begins), and go on until success, STOP or `limit_s`."""
        world = self._crew.world
        world.reset(self._seed)
        begin = world.t_ns
        dt_ns = self._crew.safety.dt_ns
        while world.t_ns - begin < nanoseconds(limit_s):
            armed_s = (world.t_ns - begin) / NS_PER_S - SETTLE_S
            if armed_s >= 0.0:
                drive(self._scenario, world, armed_s)
            self._tick(self._request(armed_s) if armed_s >= 0.0 else None)
            world.advance(dt_ns)
            if self._over():
                break
        return self._outcome(begin)

    def _request(self, armed_s: float) -> Request | None:
        """Arm what moves the arm first; then, where there are both, the human."""
        crew, mode = self._crew, self._state.mode
        if mode is Mode.DISARMED:
            return Request.ARM_TELEOP if crew.policy is None else Request.ARM_POLICY
        if crew.policy is not None and crew.teleoperator is not None and self._human is None and armed_s >= crew.take_over_s:
            self._human = crew.teleoperator
            return Request.ARM_TELEOP
        return None

    def _over(self) -> bool:
        """A human ends the episode when the job is done, hand withdrawn; a policy does as soon as the world says success."""
        truth, human = self._crew.world.truth(), self._human
        self._clearance = min(self._clearance, truth.clearance)
        if not self._at_rest():
            self._approach = min(self._approach, truth.clearance)
        finished = truth.success if human is None else human.done
        return finished or (self._state.mode is Mode.STOP and self._at_rest())

    def _at_rest(self) -> bool:
        command = self._state.commanded
        return command is not None and command.qd is not None and not np.any(np.abs(command.qd) > 1e-6)

    def _tick(self, request: Request | None) -> None:
        now = self._crew.world.t_ns
        joints = self._crew.world.joints()
        self._joints.append(joints)
        self._publish("/joint_states", now, joints)
        self._look(now)
        inputs = TickInputs(
            joints=joints,
            chunk=self._chunk(now),
            fallback=self._crew.fallback.command(joints, now),
            score=self._watch(now),
            hazards=self._fresh_hazards(),
            request=request,
        )
        self._publish("/fallback/command", now, inputs.fallback)
        self._state, step = control_step(self._state, inputs, now, 0, self._crew.safety)
        self._crew.world.send(step.verdict.command)
        self._publish("/arm/verdict", now, step)
        self._publish("/arm/command", now, step.verdict.command)
        self._steps.append((now, step.verdict.mode, step.verdict.decision))

    def _is_due(self, what: str, now: int, rate_hz: float) -> bool:
        if now < self._due[what]:
            return False
        self._due[what] = (self._due[what] or now) + round(NS_PER_S / rate_hz)
        return True

    def _look(self, now: int) -> None:
        if not self._is_due("camera", now, self._crew.rates.camera_hz):
            return
        for camera in self._crew.world.cameras:
            frame = self._crew.world.render(camera)
            self._frames[camera] = frame
            self._publish(f"/{camera}/image", now, frame)

    def _chunk(self, now: int) -> ActionChunk | None:
        if self._human is not None:
            return self._teleop(now, self._human)
        if self._crew.policy is not None and not self._pending and self._is_due("policy", now, self._crew.rates.policy_hz):
            self._decide(now, self._crew.policy)
        if not self._pending or self._pending[0][0] > now:
            return None
        _, choice, self._choice = self._pending.pop(0)
        self._publish("/policy/chunk", now, choice.chunk)
        self._publish("/policy/choice", now, self._choice)
        return choice.chunk

    def _teleop(self, now: int, teleoperator: Teleoperator) -> ActionChunk | None:
        chunk = teleoperator.act(now) if self._is_due("teleop", now, self._crew.rates.teleop_hz) else None
        self._publish("/teleop/chunk", now, chunk)
        return chunk

    def _decide(self, now: int, policy: Policy) -> None:
        limits = ObserveLimits()
        seen, _, _ = observe(self._frames, tuple(self._joints), policy.cameras, now, limits, self._crew.instruction)
        if seen is None:
            return
        latency_s = float(self._rng.choice(self._crew.rates.policy_latency_s))
        seen = self._ongoing.before(seen)
        choice = policy.decide(seen)
        self._ongoing.after(choice.chunk, now + nanoseconds(latency_s))
        self._pending.append((now + nanoseconds(latency_s), choice, note_of(choice, latency_s, seen)))

    def _watch(self, now: int) -> FailureScore | None:
        if self._is_due("monitor", now, self._crew.rates.monitor_hz):
            score = FailureScore(now, 0.0, 1.0)
            if self._crew.monitor is not None:
                monitor = self._crew.monitor
                self._monitor_state, score = monitor.update(self._monitor_state, self._frames, now, self._choice)
            self._detect(now)
            self._scores.append((now + nanoseconds(self._crew.rates.monitor_latency_s), score))
        if not self._scores or self._scores[0][0] > now:
            return None
        score = self._scores.pop(0)[1]
        self._publish("/monitor/score", now, score)
        return score

    def _detect(self, now: int) -> None:
        frame = self._frames.get(self._crew.detector.camera)
        if frame is not None:
            self._detector_state, found = self._crew.detector.track(self._detector_state, frame, now)
            self._hazards = found if found is not None else self._hazards

    def _fresh_hazards(self) -> Hazards | None:
        hazards = self._hazards
        if hazards is None or hazards is self._state.hazards:
            return None
        self._publish("/monitor/hazards", hazards.t_ns, hazards)
        return hazards

    def _publish(self, topic: str, now: int, value: object) -> None:
        if self._sink is not None and value is not None:
            self._sink(topic, now, value)

    def _outcome(self, begin: int) -> Outcome:
        armed = [s for s in self._steps if s[1] not in (Mode.DISARMED,)]
        count = max(len(armed), 1)
        first = {mode: next(((t - begin) / NS_PER_S for t, m, _ in self._steps if m is mode), None) for mode in Mode}
        return Outcome(
            seed=self._seed,
            scenario=self._scenario.name,
            success=bool(self._crew.world.truth().success),
            clearance=float(self._clearance),
            approach=float(self._approach),
            duration_s=(self._crew.world.t_ns - begin) / NS_PER_S,
            final_mode=self._state.mode,
            limited=sum(d is Decision.LIMIT for _, _, d in armed) / count,
            held=sum(d is Decision.HOLD for _, _, d in armed) / count,
            fallback_s=first[Mode.FALLBACK],
            stop_s=first[Mode.STOP],
        )
