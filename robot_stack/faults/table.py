"""What may go wrong, what must come of it, and how soon: descriptions only, nothing is done here.

Whatever arm_node can see itself (a bad chunk, joints that cannot be) must be answered within two control ticks, a node that has
fallen silent within `SILENT_S`. An arm without arm_node is held by the watchdog of its drives. What moves no motor (recorder,
hot standby, the date) must not disturb the loop.
"""

from dataclasses import dataclass, field
from enum import Enum

from robot_stack.graph import ARM_NODE, RECORDER_NODE, camera_node
from robot_stack.robot import RobotSpec
from robot_stack.types import Mode, Reason

SILENT_S = 0.30
"""The longest from when a node falls silent to the safe state."""
WATCHDOG_S = 0.20
"""No gap between commands may be longer: drives that hear nothing for so long (`task.command_silent_s`) hold the arm."""
TICKS = 2
"""Control ticks within which arm_node answers what it can see."""
SAID_S = 1.5
"""The longest until a fault that moves nothing has been said: a log looks at its file every half second."""
REFUSED_S = 20.0
"""The longest until a process that may not start has said so and ended: loading Python is most of it."""


class Means(Enum):
    """How it is done; `{target}` and `{amount}` are those of the case."""

    KILL = "SIGKILL to {target}"
    STOP = "SIGSTOP to {target}"
    SLOW = "{target} stopped for {amount:g} s of every {cycle:g} s"
    CAMERA = "the simulated camera {target}: {word}"
    ARM = "the simulated arm, joint {target}: {word} {amount:g}"
    CHUNK = "one chunk sent as the policy: {word}"
    FLOOD = "chunks sent as the policy as fast as one process can, for {amount:g} s"
    MEMORY = "no more memory for {target} than it has (RLIMIT_AS)"
    DISK = "the file of the log may not grow beyond what it is (RLIMIT_FSIZE)"
    FOLDER = "a log is to be written where no folder can be made"
    SECOND = "a second arm_node is started for the same arm"
    CLOCK = "the date of every process steps by {amount:g} s"
    PARTITION = "the network between all processes is down for {amount:g} s"


class Expect(Enum):
    """What must come of it, and what is timed."""

    SAFE = "safe within"
    """One of the modes of the case, or HOLD or STOP for one of its reasons; timed: until then."""
    AT_REST = "at rest within"
    """No verdict comes; timed: until no joint moves any more."""
    REFUSED = "refused, the rest goes on, within"
    """A tick refuses it for one of the reasons and the mode stays; timed: until that tick."""
    GOES_ON = "goes on, no two ticks further apart than"
    """The mode stays; timed: the longest gap between two ticks."""
    EITHER = "goes on or is safe, no two ticks further apart than"
    """Timed: the longest gap between two ticks."""
    SAID = "goes on, and it is said within"
    """Somebody says it and the mode stays; timed: until then."""


@dataclass(frozen=True, slots=True)
class FaultCase:
    """One fault. `target`: a process, camera or joint; `word`: which kind; `amount` in the unit of its means.

    `seen`: time begins with the first tick whose measured joints show it. `says`: words that must be said. `after`: another fault
    that is there already.
    """

    name: str
    means: Means
    expect: Expect
    bound_s: float
    target: str = ""
    word: str = ""
    amount: float = 0.0
    modes: frozenset[Mode] = frozenset()
    reasons: frozenset[Reason] = frozenset()
    says: str = ""
    seen: bool = False
    after: "FaultCase | None" = None

    @property
    def own_graph(self) -> bool:
        """It needs a graph made for it: `bench faults` alone does it."""
        return self.means in (Means.CLOCK, Means.PARTITION)

    @property
    def ends_log(self) -> bool:
        """The log that is being written ends with it, with what was not on the disk yet."""
        return self.target == RECORDER_NODE and self.means in (Means.KILL, Means.DISK)

    @property
    def how(self) -> str:
        """What is done, in words."""
        cycle = self.amount + RUN_S
        done = self.means.value.format(target=self.target, word=self.word.replace("_", " "), amount=self.amount, cycle=cycle)
        return done.removesuffix(" 0") if self.after is None else f"{self.after.how}; then {done.removesuffix(' 0')}"

    @property
    def expected(self) -> str:
        """What must come of it, how soon, in words."""
        named = "/".join(sorted({m.value for m in self.modes} or {r.value for r in self.reasons}))
        return f"{self.expect.value} {self.bound_s:g} s{f' ({named})' if named else ''}"


RUN_S = 0.02
"""How long a node that is slowed down runs between two stops."""
STOP_S = 0.8
"""How long a stopped process stays so: longer than any limit on silence."""
SLOW_S = {ARM_NODE: 0.10}
"""How long a slowed process is stopped at a time; any other 0.4 s: too slow to be of use, never quite silent."""

_FALLBACK = frozenset({Mode.FALLBACK, Mode.STOP})


@dataclass(frozen=True, slots=True)
class _Role:
    """What a process is for: what must come of its silence, and what the verdict then says."""

    expect: Expect
    bound_s: float = SILENT_S
    modes: frozenset[Mode] = field(default=_FALLBACK)
    reasons: frozenset[Reason] = frozenset()


_ROLES = {
    "policy_node": _Role(Expect.SAFE),
    "monitor_node": _Role(Expect.SAFE),
    "fallback_node": _Role(Expect.GOES_ON, WATCHDOG_S, frozenset()),
    RECORDER_NODE: _Role(Expect.GOES_ON, WATCHDOG_S, frozenset()),
    ARM_NODE: _Role(Expect.AT_REST, SILENT_S, frozenset()),
    "world": _Role(Expect.SAFE, SILENT_S, frozenset({Mode.STOP}), frozenset({Reason.JOINTS_STALE})),
}
_CHUNKS = {
    "not_finite": Reason.CHUNK_NOT_FINITE,
    "other_joint_order": Reason.CHUNK_JOINTS,
    "a_joint_missing": Reason.CHUNK_JOINTS,
    "ancient": Reason.CHUNK_STALE,
    "out_of_order": Reason.CHUNK_OUT_OF_ORDER,
    "duplicate": Reason.CHUNK_OUT_OF_ORDER,
    "from_the_future": Reason.CHUNK_OUT_OF_ORDER,
    "of_a_human": Reason.CHUNK_MALFORMED,
}
CHUNK_KINDS = tuple(_CHUNKS)
"""The kinds of bad chunks there are: see `faults.messages`."""


def cases(robot: RobotSpec) -> dict[str, FaultCase]:
    """Every fault of a graph with `robot`, by name, in the order in which they are best injected: what breaks most comes last."""
    camera = robot.cameras[0].name
    found = [*_chunks(TICKS * robot.dt_ns * 1e-9), *_cameras(camera), *_arm(robot), *_processes(robot), *_computer()]
    return {case.name: case for case in found}


def _chunks(bound_s: float) -> list[FaultCase]:
    sent = [
        FaultCase(f"chunk_{kind}", Means.CHUNK, Expect.REFUSED, bound_s, word=kind, reasons=frozenset({reason}))
        for kind, reason in _CHUNKS.items()
    ]
    return [*sent, FaultCase("flood_of_chunks", Means.FLOOD, Expect.EITHER, WATCHDOG_S, word="ancient", amount=1.0)]


def _cameras(camera: str) -> list[FaultCase]:
    kinds = {"freeze": 0.0, "dim": 0.0, "latency": 0.5, "tear": 0.5, "drop": 0.0}
    names = {"freeze": "frozen", "dim": "black", "latency": "late", "tear": "torn", "drop": "missing"}
    found = [
        FaultCase(f"frames_{names[kind]}", Means.CAMERA, Expect.SAFE, SILENT_S, camera, kind, amount, _FALLBACK)
        for kind, amount in kinds.items()
    ]
    standby = FaultCase("", Means.STOP, Expect.GOES_ON, WATCHDOG_S, "fallback_node")
    silent = frozenset({Reason.FALLBACK_SILENT})
    blind = FaultCase(
        "black_and_no_fallback", Means.CAMERA, Expect.SAFE, SILENT_S, camera, "dim", reasons=silent, after=standby
    )  # fmt: skip
    return [*found, blind]


def _arm(robot: RobotSpec) -> list[FaultCase]:
    joint, ticks_s = robot.joint_names[1], TICKS * robot.dt_ns * 1e-9
    stop, held = frozenset({Mode.STOP}), frozenset({Reason.TRACKING, Reason.TORQUE})
    return [
        FaultCase("bus_lost", Means.ARM, Expect.SAFE, SILENT_S, joint, "bus", 0.0, stop, frozenset({Reason.JOINTS_STALE})),
        FaultCase("joint_stuck", Means.ARM, Expect.SAFE, ticks_s, joint, "stick", 0.0, frozenset(), held, seen=True),
        FaultCase("encoder_jumps", Means.ARM, Expect.SAFE, ticks_s, joint, "encoder", 0.5, stop, frozenset({Reason.TRACKING})),
        FaultCase("encoder_no_number", Means.ARM, Expect.SAFE, ticks_s, joint, "encoder", float("nan"), stop),
    ]


def _processes(robot: RobotSpec) -> list[FaultCase]:
    roles = {camera_node(camera.name): _Role(Expect.SAFE) for camera in robot.cameras} | _ROLES
    found = []
    for means in (Means.SLOW, Means.STOP, Means.KILL):
        for name, role in roles.items():
            amount = {Means.SLOW: SLOW_S.get(name, 0.4), Means.STOP: STOP_S}.get(means, 0.0)
            late = means is Means.SLOW and name == ARM_NODE
            expect, bound_s = (Expect.EITHER, WATCHDOG_S) if late else (role.expect, role.bound_s)
            verb = means.name.lower()
            case = FaultCase(f"{verb}_{name}", means, expect, bound_s, name, "", amount, role.modes, role.reasons)
            found.append(case)
    return found


def _computer() -> list[FaultCase]:
    either, said = Expect.EITHER, Expect.SAID
    return [
        FaultCase("memory_of_policy_node", Means.MEMORY, either, WATCHDOG_S, "policy_node", amount=1.0),
        FaultCase("memory_of_arm_node", Means.MEMORY, either, WATCHDOG_S, ARM_NODE, amount=1.0),
        FaultCase("disk_full", Means.DISK, said, SAID_S, RECORDER_NODE, says="File too large"),
        FaultCase("folder_unwritable", Means.FOLDER, said, SAID_S, RECORDER_NODE, says="/sys/robot_stack"),
        FaultCase("second_arm_node", Means.SECOND, said, REFUSED_S, ARM_NODE, says="allowed one arm_node an arm"),
        FaultCase("clock_forward", Means.CLOCK, Expect.GOES_ON, WATCHDOG_S, amount=3600.0),
        FaultCase("clock_back", Means.CLOCK, Expect.GOES_ON, WATCHDOG_S, amount=-3600.0),
        FaultCase("partition", Means.PARTITION, Expect.SAFE, SILENT_S, amount=1.0, modes=_FALLBACK),
    ]
