"""The named rules of the gate: each looks at the evidence and says, in one sentence with its numbers, why it fires, or nothing.

A rule that rejects names a fault, or harm that is beyond doubt; a rule that holds asks for a person or for more evidence. No rule
fires on a difference alone: a better policy is a different one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from policies.parity import TOLERANCES_RAD
from robot_stack.replay.behaviour import Change
from robot_stack.replay.gate.evidence import Evidence, Paired, shown_good, shown_worse, whole

OCTAVES, USED_RAD, UNUSED = 1.5, 2e-3, 0.1


class Finding(Enum):
    """What becomes of the bundle; in this order the worst one counts."""

    REJECT = "reject"
    HOLD = "hold"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, what it finds, what it is about, and the look it takes (None: it does not fire)."""

    name: str
    finding: Finding
    about: str
    look: Callable[[Evidence], str | None]


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that fired, and the sentence with its numbers."""

    rule: str
    finding: Finding
    why: str


def fired(found: Evidence) -> list[Fired]:
    """Every rule that fires on `found`, those that reject first."""
    every = [Fired(rule.name, rule.finding, why) for rule in RULES if (why := rule.look(found)) is not None]
    return sorted(every, key=lambda one: list(Finding).index(one.finding))


def verdict(every: Sequence[Fired]) -> Finding:
    """The worst finding of all; promote when no rule fired."""
    return min((one.finding for one in every), key=list(Finding).index, default=Finding.PROMOTE)


def _damaged(found: Evidence) -> str | None:
    return found.damaged or None


def _parity(found: Evidence) -> str | None:
    if found.manifests is None:
        return None
    manifest = found.manifests[0]
    worst, allowed = float(manifest.parity.get("max_abs_rad", float("nan"))), TOLERANCES_RAD.get(manifest.precision, 0.0)
    return None if worst <= allowed else f"{worst:.1e} rad between the graph and PyTorch, allowed {allowed:.0e}"


def _contract(found: Evidence) -> str | None:
    if found.manifests is None:
        return None
    one, other = found.manifests
    for name in ("joint_names", "cameras", "instruction", "unit"):
        if getattr(one, name) != getattr(other, name):
            return f"{name}: found {getattr(one, name)}, the robot runs {getattr(other, name)}"
    return None


def _not_finite(found: Evidence) -> str | None:
    c = found.compared
    return f"{c.not_finite} of {c.spots} recorded observations end in a chunk that is not finite" if c and c.not_finite else None


def _statistics(found: Evidence) -> str | None:
    if found.compared is None:
        return None
    mine, theirs, joint = found.compared.statistics
    if mine <= theirs + OCTAVES:
        return None
    return f"normalisation of {joint} misses the logs by {mine:.1f} octaves or std, the other bundle's worst by {theirs:.1f}"


def _undone(fault: str) -> Callable[[Evidence], str | None]:
    def look(found: Evidence) -> str | None:
        told = [u for u in (found.compared.undone if found.compared else ()) if u.fault == fault and u.explains]
        if not told:
            return None
        best = min(told, key=lambda u: u.after / u.before)
        return (
            f"{best.what}: undone, {best.before:.4f} rad from the other bundle become {best.after:.4f} (noise {best.floor:.4f})"
        )

    return look


def _stale_frames(found: Evidence) -> str | None:
    for name, (mine, theirs) in (found.compared.camera_use if found.compared else {}).items():
        if theirs > USED_RAD and mine < UNUSED * theirs:
            return f"{name}: another picture moves the chunk by {mine:.5f} rad, with the other bundle by {theirs:.5f}"
    return None


def _no_better_than_standing(found: Evidence) -> str | None:
    c = found.compared
    if c is None or not (c.error[0] > c.standing > c.error[1]):
        return None
    return f"{c.error[0]:.4f} rad from what was done, standing still {c.standing:.4f}, the other bundle {c.error[1]:.4f}"


def _not_bit_equal(found: Evidence) -> str | None:
    other = [r for r in found.verdicts if not r.ok]
    if not other:
        return None
    one = other[0]
    return f"{len(other)} of {len(found.verdicts)} logs; {one.log}: {one.ticks - one.equal} of {one.ticks} verdicts differ"


def _let_through(found: Evidence) -> str | None:
    for b in found.behaviours:
        count = b.count(Change.LET_THROUGH)
        if count and b.gone:
            gone = ", ".join(f"{name} {n}" for name, n in b.gone.items())
            return f"{b.log}: {count} of {b.ticks} ticks are let through that were held back ({gone})"
    return None


def _reacts_later(found: Evidence) -> str | None:
    for b in found.behaviours:
        then, now = b.guarded_s
        if then is not None and (now is None or now > then + 1e-6):
            return f"{b.log}: FALLBACK or STOP at {then:.3f} s, now {'never' if now is None else f'at {now:.3f} s'}"
    return None


def _stops_more(found: Evidence) -> str | None:
    for b in found.behaviours:
        if b.count(Change.STOPPED) > 0.01 * b.ticks:
            new = ", ".join(f"{name} {n}" for name, n in b.new.items())
            return f"{b.log}: {b.count(Change.STOPPED)} of {b.ticks} ticks are held that moved ({new})"
    return None


def _outcome_worse(name: str, good: bool) -> Callable[[Evidence], str | None]:
    def look(found: Evidence) -> str | None:
        need = 1.0 / found.settings.alpha
        if not found.trials or (proof := shown_worse(found.trials, name, good))[0] < need:
            return None
        every, loudest = whole(found.trials), proof[1]
        counts = [f"{name} {_against(pair, name)}" for pair in ([every] if len(found.trials) == 1 else [every, loudest])]
        return f"{'; of these '.join(counts)} (e-value {proof[0]:.0f}, needs {need:.0f})"

    return look


def _against(pair: Paired, name: str) -> str:
    one, other = (sum(flags) for flags in pair.flags(name))
    more, less = pair.discordant(name)
    n = len(pair.candidate)
    return f"{one} against {other} of {n} in {pair.condition}, only one of a pair {more} and {less} times"


def _undecided(found: Evidence) -> str | None:
    if not found.complete:
        return None
    if not found.trials:
        return "nothing was re-simulated"
    proof, need, every = shown_good(found.trials, found.settings.margin), 1.0 / found.settings.alpha, whole(found.trials)
    if proof >= need:
        return None
    return (
        f"{every.condition}: after {len(every.candidate)} pairs it is not shown that success is less than "
        f"{100 * found.settings.margin:.0f} points lower (e-value {proof:.1f}, needs {need:.0f})"
    )


def _too_slow(found: Evidence) -> str | None:
    if found.latency_s is None or found.latency_s[0] <= found.settings.period_s:
        return None
    return f"one decision takes {1e3 * found.latency_s[0]:.1f} ms, the period is {1e3 * found.settings.period_s:.0f} ms"


def _slower(found: Evidence) -> str | None:
    if found.latency_s is None:
        return None
    mine, theirs = found.latency_s
    if found.latency_ratio <= found.settings.slow or mine - theirs <= found.settings.slow_least_s:
        return None
    return f"one decision takes {1e3 * mine:.1f} ms, the other bundle {1e3 * theirs:.1f} ms, ratio {found.latency_ratio:.2f}"


def _worse_on_recordings(found: Evidence) -> str | None:
    c = found.compared
    if c is None or c.error_ratio[0] <= found.settings.worse:
        return None
    low, mid, high = c.error_ratio
    return f"error against what was done {mid:.2f} times the other bundle's (99 %: {low:.2f} to {high:.2f})"


def _rough(found: Evidence) -> str | None:
    for name, (mine, theirs) in (("seam", found.compared.seam), ("jerk", found.compared.jerk)) if found.compared else ():
        if mine > found.settings.rough * theirs:
            return f"{name} {mine:.3g}, the other bundle's {theirs:.3g}"
    return None


def _estimated_worse(found: Evidence) -> str | None:
    for one in found.estimates:
        if one.difference[1] < 0.0:
            return f"{one.name}: value {one.candidate:.3g} against {one.against:.3g}, difference at most {one.difference[1]:.3g}"
    return None


R, H = Finding.REJECT, Finding.HOLD
RULES = (
    Rule("damaged", R, "the bundle cannot be opened", _damaged),
    Rule("parity", R, "the graph is not the network that was trained", _parity),
    Rule("contract", R, "other joints, cameras, units or instruction", _contract),
    Rule("not_finite", R, "a chunk that is not finite on recorded observations", _not_finite),
    Rule("statistics", R, "normalised by statistics of other data", _statistics),
    Rule("camera_order", R, "two cameras are exchanged", _undone("camera_order")),
    Rule("joint_sign", R, "a joint has the wrong sign", _undone("joint_sign")),
    Rule("time_shift", R, "rows are due at another time than they say", _undone("time_shift")),
    Rule("late_pictures", R, "it looks at older pictures than it is shown", _undone("late_pictures")),
    Rule("stale_frames", R, "a camera the other bundle looks at changes nothing", _stale_frames),
    Rule("no_better_than_standing", R, "further from what was done than standing still", _no_better_than_standing),
    Rule("not_bit_equal", R, "today's code decides otherwise on recorded inputs", _not_bit_equal),
    Rule("let_through", R, "what was held back is let through", _let_through),
    Rule("reacts_later", R, "FALLBACK or STOP comes later, or never", _reacts_later),
    Rule("touches_more", R, "touches the obstacle more often, re-simulated", _outcome_worse("violation", good=False)),
    Rule("success_lower", R, "succeeds less often, re-simulated", _outcome_worse("success", good=True)),
    Rule("too_slow", R, "a decision takes longer than the policy period", _too_slow),
    Rule("stops_more", H, "what moved is held", _stops_more),
    Rule("stopped_more", H, "ends in STOP more often, re-simulated", _outcome_worse("stopped", good=False)),
    Rule("slower", H, "a decision takes much longer", _slower),
    Rule("worse_on_recordings", H, "further from what was done, beyond doubt", _worse_on_recordings),
    Rule("rough", H, "chunks do not go on from each other, or jerk", _rough),
    Rule("estimated_worse", H, "worth less by the logs alone", _estimated_worse),
    Rule("undecided", H, "not shown to be as good", _undecided),
)
