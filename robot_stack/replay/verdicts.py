"""Replay, first depth: what was recorded goes through today's `control_step`, and every verdict must come out bit-equal.

The log holds what arrived in each tick by value (chunks by reference), so this runs the very function that moved the arm.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from robot_stack.clock import seconds
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import INPUTS, ControlState, control_step, unsent
from robot_stack.data.compare import difference
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.data.wire_step import sentence
from robot_stack.errors import DataError, ReplayMismatch
from robot_stack.interfaces import Safety
from robot_stack.replay.accept import Accepted, accepted, digest
from robot_stack.types import JointCommand, Mode, Reason, SafetyVerdict, Step, TickInputs


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first tick that came out otherwise: what the log says, what today's code says, and which field differs first."""

    tick: int
    t_s: float
    field: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"tick {self.tick} at {self.t_s:.3f} s: {self.field}; recorded: {self.recorded}; replayed: {self.replayed}"


@dataclass(frozen=True, slots=True)
class Report:
    """One log replayed. `ticks` compared, `equal` of them bit-equal, `warm_up` before them that began before the recording.

    `reasons`, `decisions` and `modes` count ticks in the recording; `changed` counts ticks whose decision or reasons differ now.
    `accepted` of the equal ones equal not the recording but the reference that was accepted since (`replay.accept`).
    """

    log: str
    ticks: int
    equal: int
    warm_up: int
    gaps: int
    first: Mismatch | None
    changed: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    decisions: Mapping[str, int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0

    @property
    def ok(self) -> bool:
        """Every tick came out bit-equal, and there was one."""
        return self.ticks > 0 and self.equal == self.ticks

    def require(self) -> "Report":
        """This report. Raises ReplayMismatch, in words, unless it is `ok`."""
        if not self.ok:
            gaps = f" {self.gaps} gaps between ticks: were ticks lost while recording?" if self.gaps else ""
            why = str(self.first) if self.first else "found no tick to compare"
            raise ReplayMismatch(
                f"log {self.log}: {self.ticks - self.equal} of {self.ticks} verdicts differ; {why}.{gaps} "
                "If the change is meant, record the log anew and say so in the commit"
            )
        return self


def replay_verdicts(log: EpisodeLog, safety: Safety) -> Report:
    """Run the ticks of `log` through `control_step` with `safety` and compare, field by field and bit by bit.

    A log that begins with arm_node's first tick is compared from there. One that begins later (arm_node already running,
    DISARMED) has a warm-up: until each input has been seen once, the recorded command is taken over where it differs.
    Differences do not add up: each tick is replayed from the command that was really sent before it, as on the robot.
    Raises DataError when the log begins while the arm was armed, or cannot be read.
    """
    tally = _Tally(accepted(log.path.parent))
    for tick in ticks(log, safety):
        tally.add(tick, safety.dt_ns)
    return tally.report(log.name)


def safety_of(log: EpisodeLog) -> Safety:
    """The safety layer as it was set up when `log` was recorded: robot and settings come from the log's metadata.

    Raises DataError when the log does not say, ConfigError when the robot or the barrier file no longer exists.
    """
    from safety.layer import SafetyLayer

    found = log.metadata.settings.get("safety")
    if not isinstance(found, Mapping):
        raise DataError(f"log {log.path}: no settings of `safety` in its metadata; give the safety layer to replay with")
    try:
        settings = SafetySettings(**found)
    except TypeError as error:
        raise DataError(f"log {log.path}: settings of `safety` are of another version ({error}); give them by hand") from error
    return SafetyLayer(load_robot(log.metadata.robot), settings)


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick as recorded and as it comes out now. `warm`: each input has been seen once, so that both know the same."""

    index: int
    t_s: float
    gap_ns: int
    recorded: Step
    replayed: Step
    warm: bool


def ticks(log: EpisodeLog, safety: Safety, change: Callable[[TickInputs], TickInputs] | None = None) -> Iterator[Tick]:
    """Each tick of `log` through `control_step` with `safety`, from the command that was really sent before it.

    In shadow none was: a tick goes on from where the arm was measured.
    `change` makes other inputs of what arrived. Raises DataError when the log begins while the arm was armed.
    """
    state, missing, begin, last = ControlState(), set(INPUTS), None, None
    for index, recorded in enumerate(_read_ahead(log.steps())):
        if begin is None:
            begin = recorded.t_ns
            _expect_disarmed(log, recorded)
            if recorded.inputs.joints is None:  # arm_node was running before: it went on from its command before this one
                state = replace(state, commanded=recorded.verdict.command)
        inputs = recorded.inputs if change is None else change(recorded.inputs)
        after, replayed = control_step(state, inputs, recorded.t_ns, recorded.lateness_ns, safety)
        gap_ns = recorded.t_ns - last if last is not None else 0
        last = recorded.t_ns
        yield Tick(index, seconds(recorded.t_ns - begin), gap_ns, recorded, replayed, not missing)
        missing = {name for name in missing if getattr(recorded.inputs, name) is None}
        if recorded.verdict.mode is not Mode.DISARMED or recorded.inputs.request is not None:
            missing = set()
        if _command_bits(recorded.verdict.command) != _command_bits(replayed.verdict.command):
            after = replace(after, commanded=recorded.verdict.command)
        state = unsent(after) if log.metadata.shadow else after


def _read_ahead(steps: Iterator[Step]) -> Iterator[Step]:
    """`steps` in handfuls: reading and deciding by turns costs a tenth more, as neither stays in the processor's cache."""
    while handful := list(islice(steps, 64)):
        yield from handful


def _expect_disarmed(log: EpisodeLog, first: Step) -> None:
    mode = first.verdict.mode
    if mode is not Mode.DISARMED and first.inputs.request is None:
        raise DataError(f"log {log.path}: begins in mode {mode.value}, allowed disarmed; start recording before arming")


class _Tally:
    """Counts while the ticks go by."""

    def __init__(self, meant: Accepted) -> None:
        self._meant = meant
        self.accepted = 0
        self.ticks = self.equal = self.warm_up = self.gaps = self.changed = 0
        self.first: Mismatch | None = None
        self.reasons: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()

    def add(self, tick: Tick, dt_ns: int) -> None:
        recorded, replayed = tick.recorded, tick.replayed
        self.reasons.update(reason.value for reason in reasons(recorded))
        self.decisions[recorded.verdict.decision.value] += 1
        self.modes[recorded.verdict.mode.value] += 1
        self.gaps += tick.gap_ns > 1.5 * dt_ns
        found = unlike(recorded, replayed)
        if found is not None and not tick.warm:
            self.warm_up += 1
            return
        self.ticks += 1
        if (meant := self._meant.ticks.get(tick.index)) is not None:
            found = None if digest(replayed) == meant[0] else found or f"[0].accepted: {meant[1]}"
            self.accepted += found is None
        self.equal += found is None
        if found is None:
            return
        self.changed += recorded.verdict.decision is not replayed.verdict.decision or reasons(recorded) != reasons(replayed)
        if self.first is None:
            field = found.replace("[0].", "verdict.", 1).replace("[1]", "mode_cause", 1)
            self.first = Mismatch(tick.index, tick.t_s, field, sentence(recorded), sentence(replayed))

    def report(self, log: str) -> Report:
        reasons, decisions, modes = (most_first(c) for c in (self.reasons, self.decisions, self.modes))
        head = (log, self.ticks, self.equal, self.warm_up, self.gaps, self.first, self.changed)
        return Report(*head, reasons, decisions, modes, self.accepted)


def unlike(recorded: Step, replayed: Step) -> str | None:
    """Where the verdicts or mode causes of two ticks differ first, bit by bit; None: nowhere."""
    if recorded.mode_cause == replayed.mode_cause and _same_bits(recorded.verdict, replayed.verdict):
        return None
    return difference((recorded.verdict, recorded.mode_cause), (replayed.verdict, replayed.mode_cause), "")


def _same_bits(one: SafetyVerdict, other: SafetyVerdict) -> bool:
    """A quick look that spares nearly every tick the long comparison: True only where that would find nothing."""
    return (
        one.mode is other.mode
        and one.decision is other.decision
        and one.t_ns == other.t_ns
        and one.solver == other.solver
        and [(v.reason, v.index) for v in one.violations] == [(v.reason, v.index) for v in other.violations]
        and _bits(one) == _bits(other)
        and _command_bits(one.command) == _command_bits(other.command)
        and _command_bits(one.proposed) == _command_bits(other.proposed)
    )


def _bits(verdict: SafetyVerdict) -> bytes:
    amounts = [v.amount for v in verdict.violations]
    return struct.pack(f"<{3 + len(amounts)}d", verdict.slack, verdict.margin, verdict.barrier, *amounts)


def _command_bits(command: JointCommand | None) -> tuple[int, bytes, bytes | None] | None:
    if command is None:
        return None
    return command.t_ns, command.q.tobytes(), None if command.qd is None else command.qd.tobytes()


def most_first(counts: Counter[str]) -> dict[str, int]:
    """`counts` with the largest first, equal ones by name: sets of reasons come in another order in each process."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def reasons(step: Step) -> frozenset[Reason]:
    """Every reason code of a tick: of its verdict and of its mode."""
    return frozenset([v.reason for v in step.verdict.violations] + list(step.mode_cause))
