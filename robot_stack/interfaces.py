"""The Protocols of the parts a user may bring. Contract tests for them live in `tests/contracts/`."""

from typing import Protocol, runtime_checkable

from robot_stack.types import (
    ActionChunk,
    CameraFrame,
    Choice,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Observation,
    Reason,
    Request,
    SafeCommand,
    SafetyVerdict,
)


@runtime_checkable
class Camera(Protocol):
    """A source of pictures. Construction opens the device and raises DriverError when it is not there."""

    name: str

    def read(self) -> CameraFrame | None:
        """The newest frame not returned before, or None. Never blocks. Raises DriverError once the device is gone."""
        ...

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        ...


@runtime_checkable
class Arm(Protocol):
    """A set of joints. Construction connects and raises DriverError when it can't."""

    joint_names: tuple[str, ...]

    def read(self) -> JointState:
        """The newest measured state; its `t_ns` says how old. Never blocks. Raises DriverError once the device is gone."""
        ...

    def send(self, command: SafeCommand) -> None:
        """Hand one command to the motors. Refuses (DriverError) what is non-finite or of the wrong length; never clamps."""
        ...

    def close(self) -> None:
        """Leave the arm holding where it is and release it; closing twice is allowed."""
        ...


class Teleoperator(Protocol):
    """A human at a device, or a script that plays one. Its chunks pass the same door as a policy's."""

    @property
    def done(self) -> bool:
        """The human has finished the job and may be left alone: a policy that stood back may go on."""
        ...

    def act(self, now_ns: int) -> ActionChunk | None:
        """The motion wanted from `now_ns` on, or None when the hand is off the device. Raises DriverError while that is lost."""
        ...

    def close(self) -> None:
        """Release the device; closing twice is allowed."""
        ...


class Policy(Protocol):
    """Observation in, chunk out. Untrusted: the filter checks whatever comes."""

    joint_names: tuple[str, ...]
    cameras: tuple[str, ...]

    def decide(self, observation: Observation) -> Choice:
        """Encode once, sample N candidates, choose one. Raises PolicyError on an observation of the wrong shape."""
        ...


class FallbackController(Protocol):
    """What moves the arm when the policy may not. It shares no sensor with the cameras."""

    def command(self, joints: JointState, now_ns: int) -> JointCommand:
        """The command for `now_ns`. Pure but for what it has seen of the joints so far."""
        ...


class World(Protocol):
    """A simulated world in lock-step: it moves when stepped and never otherwise. `drivers/` holds one per simulator."""

    def reset(self, seed: int) -> None:
        """Back to a start drawn from `seed`."""
        ...

    def advance(self, dt_ns: int) -> None:
        """Let `dt_ns` nanoseconds pass."""
        ...


class Safety(Protocol):
    """What `control_step` needs of `safety/`; `safety.layer.SafetyLayer` is the one that ships."""

    dt_ns: int

    def arbitrate(self, situation: "Situation", request: Request | None, now_ns: int) -> tuple[Mode, tuple[Reason, ...]]:
        """The mode of this tick and why it differs from the last (empty: it does not)."""
        ...

    def check(
        self,
        wish: JointCommand | None,
        situation: "Situation",
        now_ns: int,
    ) -> SafetyVerdict:
        """The verdict on `wish` (None: nobody has one, so brake) in `situation`, whose mode is already the new one."""
        ...


class Situation(Protocol):
    """What safety may know at a tick: the newest of everything, each with its own time. `control.ControlState` is one."""

    @property
    def mode(self) -> Mode:
        """Who may move the arm."""
        ...

    @property
    def since_ns(self) -> int:
        """When the mode began."""
        ...

    @property
    def resume(self) -> Mode:
        """The armed mode FALLBACK came from."""
        ...

    @property
    def joints(self) -> JointState | None:
        """The newest measured state (None: none yet)."""
        ...

    @property
    def before(self) -> JointState | None:
        """The state measured before `joints` (None: none yet)."""
        ...

    @property
    def hazards(self) -> Hazards | None:
        """The newest perceived hazards (None: none yet)."""
        ...

    @property
    def commanded(self) -> SafeCommand | None:
        """What was sent in the last tick."""
        ...

    @property
    def alarm_ns(self) -> int | None:
        """When the monitor last raised its alarm (None: never since arming)."""
        ...

    @property
    def score_ns(self) -> int | None:
        """When the monitor last spoke (arrival time)."""
        ...

    @property
    def chunk_ns(self) -> int | None:
        """When the last good chunk of the armed source arrived (arrival time)."""
        ...

    @property
    def chunk_due(self) -> bool:
        """A row of a chunk is due now."""
        ...

    @property
    def fallback_ns(self) -> int | None:
        """When fallback_node last spoke (arrival time)."""
        ...

    @property
    def playing(self) -> ActionChunk | None:
        """The chunk a row of which is due; None: no chunk."""
        ...

    @property
    def behind_ns(self) -> int:
        """How much later than due its rows are played, because the arm was slowed along them."""
        ...

    @property
    def pace(self) -> float:
        """How far the last tick followed its wish along its path: 1 as wished, less when slowed, 0 when pushed off it or held."""
        ...
