"""What a look at the numbers of one episode finds odd, as short sentences: a hint to look closer, not a verdict."""

import numpy as np

from robot_stack.data.recording import ACTION, STATE, Recording
from robot_stack.types import Array

STILL = 1e-3
"""rad (m): a joint that moves less from row to row stands still; one that moves less over an episode never moved."""

JUMP, JUMP_SHARE = 10.0, 0.05
"""A step so many times the 99th percentile of a joint's steps, and so much of its range, is a jump."""


def flags(found: Recording) -> list[str]:
    """Numbers that are not finite, time that stands still, no motion, idle most of the time, jumps, commands not followed."""
    faults = found.faults()
    if faults or STATE not in found.columns or len(found) < 3:
        return faults or ([] if STATE in found.columns else [f"no {STATE}"])
    q = found.numbers(STATE)
    steps, span = np.abs(np.diff(q, axis=0)), np.ptp(q, axis=0)
    if span.max() < STILL:
        return ["no motion"]
    idle = float((steps.max(axis=1) < STILL).mean())
    odd = [f"idle {100 * idle:.0f} % of the time"] if idle > 0.5 else []
    return odd + _jumps(found, steps, span) + _not_followed(found, q, span)


def _jumps(found: Recording, steps: Array, span: Array) -> list[str]:
    usual = np.percentile(steps, 99, axis=0)
    jumped = (steps > np.maximum(JUMP * usual, JUMP_SHARE * span)) & (span > STILL)
    if not jumped.any():
        return []
    row, joint = (int(i) for i in np.argwhere(jumped)[0])
    return [f"{int(jumped.sum())} jumps, the first of {_name(found, joint)} at {found.times_s()[row + 1]:.2f} s"]


def _not_followed(found: Recording, q: Array, span: Array) -> list[str]:
    """A command that the joint is, half a second later, further from than half its range."""
    if found.names.get(ACTION, ()) != found.names.get(STATE, (None,)):
        return []
    later = max(round(found.rate_hz / 2), 1)
    action = np.asarray(found.columns[ACTION], dtype=np.float64)
    if len(q) <= later:
        return []
    error = np.median(np.abs(action[:-later] - q[later:]), axis=0)
    worst = int(np.argmax(error / np.maximum(span, STILL)))
    bad = error[worst] > 0.5 * span[worst] and error[worst] > 10 * STILL
    return [f"{_name(found, worst)} is {error[worst]:.3g} away from its command (median, 0.5 s later)"] if bad else []


def _name(found: Recording, joint: int) -> str:
    return found.names[STATE][joint] if STATE in found.names else f"joint {joint}"
