"""One fault on an arm that moves: inject it, watch every tick, say what came of it and after how long, and mend it."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from robot_stack.clock import nanoseconds, seconds
from robot_stack.data.wire_step import sentence
from robot_stack.errors import RobotStackError
from robot_stack.faults.inject import Injected, injected
from robot_stack.faults.plant import ATTEMPTS, MOVES, Plant, moves
from robot_stack.faults.table import STOP_S, Expect, FaultCase, Means
from robot_stack.types import Mode, Step

PATIENCE_S = 5.0
"""A fault that is not answered for so long is not answered."""
WINDOW_S = 0.6
LONGEST_S = 2.0
"""How long a graph that must go on is watched: as long as the fault lasts, within these."""
QUIET_S = 0.15
"""An arm that has not moved for this long rests."""
HEARD_S = 1.5
"""The ticks of this long before a fault are looked for in the log."""
UNREAD_S = 0.5
"""A chunk no tick has taken after so long was replaced by a newer one."""
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one fault. `took_s`: what `FaultCase.expect` times (inf: never). `ticks`: those heard just before it (ns)."""

    fault: str
    t_ns: int
    took_s: float
    as_expected: bool
    mode: Mode
    said: str
    ticks: tuple[int, ...]

    def __str__(self) -> str:
        found = "as expected" if self.as_expected else "NOT as expected"
        return f"{self.fault}: {found}: {self.mode.value} after {self.took_s:.3f} s; {self.said}"


class Unseen(RobotStackError):
    """A fault that must be seen in what is measured did not show: a joint is stuck, and its command stays where it is."""


def trial(plant: Plant, case: FaultCase) -> Outcome:
    """Let the policy move the arm, inject `case`, watch, mend; anew where it did not show. Raises RobotStackError when the arm
    cannot be made to move."""
    if case.means in (Means.CHUNK, Means.FLOOD):
        plant.liar()
    for attempt in range(ATTEMPTS):
        ticks = _playing(plant)
        with suppress(Unseen), injected(plant, case) as broken:
            try:
                took_s, as_expected, mode, said = _WATCH[case.expect](plant, case, broken)
            except Unseen:
                raise
            except RobotStackError as error:
                took_s, as_expected, mode, said = float("inf"), False, plant.step().verdict.mode, str(error)
            return Outcome(case.name, broken.t_ns, took_s, as_expected, mode, said, ticks)
        plant.start_over(attempt)
    raise Unseen(f"{case.name}: injected {ATTEMPTS} times, and it did not show; {sentence(plant.step())}")


def is_safe(case: FaultCase, step: Step) -> bool:
    """`step` is what `case` must come to: one of its modes, or a hold or relief for one of its reasons."""
    verdict = step.verdict
    named = {violation.reason for violation in verdict.violations} & case.reasons
    return verdict.mode in case.modes or bool(named)


_Found = tuple[float, bool, Mode, str]


def _until_safe(plant: Plant, case: FaultCase, broken: Injected) -> _Found:
    before: list[Step] = []
    shown_ns: list[int] = [] if case.seen else [broken.t_ns]

    def safe(step: Step) -> bool:
        if not shown_ns and _shows(plant, before, step):
            shown_ns.append(step.t_ns)
        before[:] = [step]
        return is_safe(case, step)

    try:
        step = plant.operator.wait_for(safe, PATIENCE_S, case.expected, broken.t_ns)
    except RobotStackError as error:
        raise error if shown_ns else Unseen(str(error)) from error
    return seconds(step.t_ns - min(shown_ns, default=broken.t_ns)), True, step.verdict.mode, _about(case, step)


def _shows(plant: Plant, before: list[Step], step: Step) -> bool:
    """The joints measured in `step` are not where the last command sent them, or push harder than is normal."""
    spec, joints = plant.run.robot, step.inputs.joints
    if joints is None or not before:
        return False
    rigid = np.array([joint.kind == "revolute" for joint in spec.joints])
    astray = np.abs(joints.q - before[-1].verdict.command.q)[rigid] > plant.run.safety.tracking_limit
    return bool(astray.any()) or (joints.tau is not None and bool((np.abs(joints.tau) > spec.tau_max).any()))


def _until_refused(plant: Plant, case: FaultCase, broken: Injected) -> _Found:
    """A chunk that a newer one replaced in arm_node before a tick took it is sent again."""
    for tries in range(ATTEMPTS):
        sent_ns = plant.lie(case.word)[0] if tries else broken.t_ns
        with suppress(RobotStackError):
            step = plant.operator.wait_for(lambda s: is_safe(case, s), UNREAD_S, case.expected, sent_ns)
            return seconds(step.t_ns - sent_ns), step.verdict.mode is Mode.POLICY, step.verdict.mode, _about(case, step)
    raise RobotStackError(f"{case.name}: sent {ATTEMPTS} times, and no tick has refused it; {sentence(plant.step())}")


def _until_at_rest(plant: Plant, case: FaultCase, broken: Injected) -> _Found:
    """The joints are read where the simulated drives put them: no tick tells of them."""
    last_ns, until_ns = broken.t_ns, broken.t_ns + nanoseconds(STOP_S)
    while (now_ns := time.monotonic_ns()) < until_ns:
        joints = plant.director.joints()
        last_ns = max(last_ns, joints.t_ns) if np.abs(joints.qd).max() > MOVES else last_ns
        time.sleep(_POLL_S)
    rests = now_ns - last_ns > nanoseconds(QUIET_S)
    said = f"no verdict for {seconds(now_ns - plant.step().t_ns):.2f} s; the drives hold the arm"
    return seconds(last_ns - broken.t_ns), rests, plant.step().verdict.mode, said


def _goes_on(plant: Plant, case: FaultCase, broken: Injected) -> _Found:
    steps = _ticks(plant, broken.t_ns, min(max(WINDOW_S, case.amount), LONGEST_S))
    left = [step for step in steps if step.verdict.mode is not Mode.POLICY]
    allowed = case.expect is Expect.EITHER
    last = (left or steps)[0 if left else -1]
    return _gap_s(broken.t_ns, steps), allowed or not left, last.verdict.mode, f"{sentence(last)}; {broken.said}".rstrip("; ")


def _until_said(plant: Plant, case: FaultCase, broken: Injected) -> _Found:
    until_ns = broken.t_ns + nanoseconds(PATIENCE_S)
    answered = bool(broken.said)
    said, end_ns = broken.said, time.monotonic_ns()
    while not answered and case.says not in said and time.monotonic_ns() < until_ns:
        said, end_ns = _last_line(plant.said(case.target), case.says), time.monotonic_ns()
        time.sleep(_POLL_S)
    mode = plant.step().verdict.mode
    return seconds(end_ns - broken.t_ns), case.says in said and mode is Mode.POLICY, mode, said


_WATCH: dict[Expect, Callable[[Plant, FaultCase, Injected], _Found]] = {
    Expect.SAFE: _until_safe,
    Expect.AT_REST: _until_at_rest,
    Expect.REFUSED: _until_refused,
    Expect.GOES_ON: _goes_on,
    Expect.EITHER: _goes_on,
    Expect.SAID: _until_said,
}


def _ticks(plant: Plant, after_ns: int, for_s: float) -> list[Step]:
    """Every tick from `after_ns` on, for `for_s`, and the first one after that."""
    steps: list[Step] = []
    end_ns = after_ns + nanoseconds(for_s)

    def over(step: Step) -> bool:
        steps.append(step)
        return step.t_ns > end_ns

    plant.operator.wait_for(over, for_s + PATIENCE_S, "ticks that go on", after_ns)
    return steps


def _gap_s(begin_ns: int, steps: list[Step]) -> float:
    times = [begin_ns, *(step.t_ns for step in steps)]
    return seconds(max(b - a for a, b in pairwise(times)))


def _playing(plant: Plant) -> tuple[int, ...]:
    """The armed ticks (ns) of the last HEARD_S of an arm that the policy moves now, after it was made to.

    What an arm_node that was just started says while it is disarmed, before recorder_node has found it, is in no log.
    """
    for _ in range(ATTEMPTS):
        plant.play()
        steps = _ticks(plant, time.monotonic_ns() - nanoseconds(HEARD_S), HEARD_S)
        if steps[-1].verdict.mode is Mode.POLICY and moves(steps[-1]):
            return tuple(step.t_ns for step in steps if step.verdict.mode is not Mode.DISARMED)
    raise RobotStackError(f"the arm did not go on moving in {ATTEMPTS} attempts; is this computer too busy?")


def _about(case: FaultCase, step: Step) -> str:
    """The sentence of `step`, of its violations those the case is about, where there are such."""
    about = tuple(violation for violation in step.verdict.violations if violation.reason in case.reasons)
    return sentence(replace(step, verdict=replace(step.verdict, violations=about)) if about else step)


def _last_line(text: str, words: str) -> str:
    """The last line of `text` with `words` in it, or nothing."""
    return next((line for line in reversed(text.splitlines()) if words in line), "")
