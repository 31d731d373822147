"""The values that flow along the one path. Start reading here.

Frozen, slotted dataclasses; arrays are locked, images shared and never written. SI units; time is ``int``
nanoseconds of CLOCK_MONOTONIC. J joints, T rows of a chunk, N candidates, F features, K hazards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import ContractError

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


class Mode(Enum):
    """Who may move the arm. Start is DISARMED: nothing moves. STOP latches until the operator resets it."""

    DISARMED = "disarmed"
    POLICY = "policy"
    TELEOP = "teleop"
    FALLBACK = "fallback"
    STOP = "stop"
    __hash__ = object.__hash__  # as in Reason


ARMED = frozenset({Mode.POLICY, Mode.TELEOP})


class Decision(Enum):
    """What the filter did with the wish. HOLD recovers by itself, STOP latches."""

    PASS = "pass"
    LIMIT = "limit"
    HOLD = "hold"
    STOP = "stop"


class Request(Enum):
    """What an operator may ask for."""

    ARM_POLICY = "arm_policy"
    ARM_TELEOP = "arm_teleop"
    DISARM = "disarm"
    STOP = "stop"
    RESET = "reset"


class Reason(Enum):
    """Machine-readable reason codes of verdicts and of mode changes."""

    NOT_FINITE = "not_finite"
    POSITION = "position_limit"
    VELOCITY = "velocity_limit"
    ACCELERATION = "acceleration_limit"
    TORQUE = "torque_limit"
    WORKSPACE = "workspace"
    KEEP_OUT = "keep_out"
    SELF_COLLISION = "self_collision"
    BARRIER = "learned_barrier"
    AHEAD = "chunk_leads_out"
    SLOWED = "slowed_along_path"
    PROJECTED = "projected"
    INFEASIBLE = "infeasible"
    SOLVER = "solver_failed"
    NO_COMMAND = "no_command"
    TRACKING = "tracking_lost"
    CHUNK_NOT_FINITE = "chunk_not_finite"
    CHUNK_JOINTS = "chunk_joint_order"
    CHUNK_MALFORMED = "chunk_malformed"
    CHUNK_STALE = "chunk_stale"
    CHUNK_OUT_OF_ORDER = "chunk_out_of_order"
    POLICY_SILENT = "policy_silent"
    TELEOP_SILENT = "teleop_silent"
    JOINTS_STALE = "joints_stale"
    JOINTS_NOT_FINITE = "joints_not_finite"
    HAZARDS_STALE = "hazards_stale"
    MONITOR_SILENT = "monitor_silent"
    MONITOR_ALARM = "monitor_alarm"
    FALLBACK_SILENT = "fallback_silent"
    FALLBACK_TOO_LONG = "fallback_too_long"
    RECOVERED = "recovered"
    OPERATOR = "operator"
    NOT_READY = "not_ready"
    DISARMED = "disarmed"
    STOPPED = "stopped"
    __hash__ = object.__hash__  # Enum's own is Python code: an eighth of the time of a tick


@dataclass(frozen=True, slots=True)
class Violation:
    """One reason, how much (the amount beyond the bound, in the unit of that bound) and where (joint, link, or -1)."""

    reason: Reason
    amount: float = 0.0
    index: int = -1


def lock(value: Any, shape: tuple[int | None, ...], name: str) -> Array:
    """A read-only float64 array whose shape matches (None = any length). Raises ContractError, naming `name`."""
    array: Array = np.asarray(value, dtype=np.float64)
    if array.ndim != len(shape) or [n for n, want in zip(array.shape, shape, strict=True) if want not in (None, n)]:
        raise ContractError(f"{name}: found shape {array.shape}, allowed {tuple('any' if n is None else n for n in shape)}")
    if array.flags.writeable:
        array = array if type(value) is list else array.copy()  # of a list `asarray` has made a new one
        array.setflags(write=False)
    return array


def _lock_field(owner: object, name: str, shape: tuple[int | None, ...]) -> None:
    value = getattr(owner, name)
    if value is not None:
        object.__setattr__(owner, name, lock(value, shape, f"{type(owner).__name__}.{name}"))


@dataclass(frozen=True, slots=True, eq=False)
class CameraFrame:
    """One picture: `t_ns` of capture, `rgb` uint8 (H, W, 3), row 0 on top."""

    camera: str
    t_ns: int
    rgb: Image

    def __post_init__(self) -> None:
        object.__setattr__(self, "rgb", lock_image(self.rgb, f"CameraFrame.rgb of {self.camera}"))


def lock_image(rgb: Image, name: str) -> Image:
    """`rgb` as a read-only view, not copied. Raises ContractError unless uint8 (H, W, 3)."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ContractError(f"{name}: found {rgb.dtype} {rgb.shape}, allowed uint8 (H, W, 3)")
    view = rgb.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, slots=True, eq=False)
class JointState:
    """Measured joints, in the order of the robot config: `q` (J,) rad (m where prismatic), `qd` (J,), `tau` (J,) N m or None."""

    t_ns: int
    q: Array
    qd: Array
    tau: Array | None = None

    def __post_init__(self) -> None:
        _lock_field(self, "q", (None,))
        _lock_field(self, "qd", self.q.shape)
        _lock_field(self, "tau", self.q.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a policy sees; `t_ns` of its oldest input. `plan` plays meanwhile, for `given_ns` from the joints on (`ongoing`)."""

    t_ns: int
    frames: Mapping[str, CameraFrame]
    joints: JointState
    instruction: str = ""
    plan: "ActionChunk | None" = None
    given_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ActionChunk:
    """T rows of joint positions `q` (T, J); row i is due at ``t0_ns + i * dt_ns``. Rows may be non-finite: the filter decides."""

    t_obs_ns: int
    t0_ns: int
    dt_ns: int
    q: Array
    source: str

    def __post_init__(self) -> None:
        _lock_field(self, "q", (None, None))
        if self.dt_ns <= 0 or self.q.shape[0] < 2:
            raise ContractError(f"ActionChunk: found dt_ns={self.dt_ns}, {len(self.q)} rows; allowed dt_ns > 0, at least 2 rows")

    @property
    def t_end_ns(self) -> int:
        """When the last row is due."""
        return self.t0_ns + (len(self.q) - 1) * self.dt_ns


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """N sampled chunks `actions` (N, T, J), their `features` (N, F) and, where a selector ran, pseudo-`counts` (N,)."""

    actions: Array
    features: Array
    counts: Array | None = None

    def __post_init__(self) -> None:
        _lock_field(self, "actions", (None, None, None))
        _lock_field(self, "features", (self.actions.shape[0], None))
        _lock_field(self, "counts", (self.actions.shape[0],))


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a policy decided: the chunk, the winner's index and the pseudo-counts (N,) of all candidates (None: no selector)."""

    chunk: ActionChunk
    winner: int
    counts: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class JointCommand:
    """A wish: be at `q` (J,) at `t_ns`, moving with `qd` (J,) or None. It may be non-finite or unsafe."""

    t_ns: int
    q: Array
    qd: Array | None = None

    def __post_init__(self) -> None:
        _lock_field(self, "q", (None,))
        _lock_field(self, "qd", self.q.shape)


SafeCommand = NewType("SafeCommand", JointCommand)
"""Finite and inside the limits. Made only in `safety/`; drivers accept nothing else."""


@dataclass(frozen=True, slots=True, eq=False)
class Hazards:
    """Perceived spheres: centres `p_W` (K, 3) m, `radius` (K,) m, `sigma` (K,) m (1 std of the centre), `speed_max` (K,) m/s."""

    t_ns: int
    p_W: Array
    radius: Array
    sigma: Array
    speed_max: Array

    def __post_init__(self) -> None:
        _lock_field(self, "p_W", (None, 3))
        for name in ("radius", "sigma", "speed_max"):
            _lock_field(self, name, self.p_W.shape[:1])


@dataclass(frozen=True, slots=True)
class FailureScore:
    """The monitor's opinion of the images of `t_ns`: alarm iff score > threshold; `cause` is empty unless alarmed."""

    t_ns: int
    score: float
    threshold: float
    cause: str = ""

    @property
    def alarm(self) -> bool:
        """Default deny: a score that is not a number is an alarm, and so is any named cause."""
        return bool(self.cause) or not self.score <= self.threshold


@dataclass(frozen=True, slots=True, eq=False)
class SafetyVerdict:
    """What became of the wish of one tick. `margin` is the smallest constraint value before filtering (m or barrier units)."""

    t_ns: int
    mode: Mode
    decision: Decision
    proposed: JointCommand | None
    command: SafeCommand
    violations: tuple[Violation, ...] = ()
    solver: str = "none"
    slack: float = 0.0
    margin: float = float("inf")
    barrier: float = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class TickInputs:
    """What arrived since the last tick; None = nothing new. `refused` says why a message did not become a value."""

    joints: JointState | None = None
    chunk: ActionChunk | None = None
    fallback: JointCommand | None = None
    score: FailureScore | None = None
    hazards: Hazards | None = None
    request: Request | None = None
    refused: Reason | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One control tick: what was new, what was decided. Enough to replay the tick bit for bit."""

    t_ns: int
    lateness_ns: int
    inputs: TickInputs
    verdict: SafetyVerdict
    mode_cause: tuple[Reason, ...] = ()
