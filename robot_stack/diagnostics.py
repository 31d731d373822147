"""What the parts of a running graph say about themselves on /diagnostics, and when it is no longer OK. Pure; imports no ROS.

Levels as in diagnostic_msgs (REP 107): OK, WARN: look at it soon, ERROR: it does not do its job, STALE: it has fallen silent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from robot_stack.clock import seconds

SLOW, HALTING = 0.9, 0.5
"""Shares of its rate below which a loop or a camera is a WARN, and an ERROR."""
OLD = 0.5
"""A message older on arrival than this share of what makes its topic stale is a WARN."""
NEARLY_HOT = 10.0
"""degC below the limit of a servo from which it is a WARN."""
GPU_WARM, GPU_HOT, GPU_FULL = 80.0, 90.0, 0.95
"""degC of a GPU that are a WARN and an ERROR, and the share of its memory that is a WARN."""


class Level(Enum):
    """How well a part is, in the numbers of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """One part at one time: how well it is, why in a sentence, and the figures that say so."""

    part: str
    level: Level
    message: str
    values: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spell:
    """What a loop did since it was last asked: calls, deadlines missed altogether, the latest begin and the longest step (ns)."""

    calls: int = 0
    missed: int = 0
    late_ns: int = 0
    busy_ns: int = 0


@dataclass(frozen=True, slots=True)
class Hearing:
    """What came on a topic since it was last asked: messages, the oldest on arrival (ns), when the last came (None: none yet)."""

    messages: int = 0
    age_ns: int = 0
    last_ns: int | None = None


def loop_reading(part: str, period_ns: int, spell: Spell, dt_ns: int) -> Reading:
    """A loop that is to be called every `period_ns`, over the last `dt_ns`. WARN below `SLOW` of its rate or with a deadline
    missed, ERROR below `HALTING`."""
    rate_hz, wanted_hz = spell.calls / seconds(dt_ns), 1.0 / seconds(period_ns)
    values = {
        "rate_hz": round(rate_hz, 2),
        "wanted_hz": round(wanted_hz, 2),
        "missed": spell.missed,
        "late_max_ms": round(spell.late_ns / 1e6, 3),
        "step_max_ms": round(spell.busy_ns / 1e6, 3),
    }
    level, why = rate_level(spell.calls, dt_ns, wanted_hz)
    if level is Level.OK and spell.missed:
        level, why = Level.WARN, f"{spell.missed} deadlines missed"
    return Reading(part, level, why, values)


def rate_level(count: int, dt_ns: int, wanted_hz: float) -> tuple[Level, str]:
    """How well `count` events in `dt_ns` keep up with `wanted_hz`; one more or less is chance."""
    wanted = wanted_hz * seconds(dt_ns)
    text = f"{count / seconds(dt_ns):.3g} Hz of {wanted_hz:.3g}"
    if count < HALTING * wanted - 1.0:
        return Level.ERROR, text
    return (Level.WARN if count < SLOW * wanted - 1.0 else Level.OK), text


def topic_reading(name: str, stale_s: float, heard: Hearing, now_ns: int, dt_ns: int) -> Reading:
    """A topic that is read. STALE when silent for `stale_s` (inf: it may be), WARN when a message came older than `OLD` of it."""
    values: dict[str, float | int | str] = {"rate_hz": round(heard.messages / seconds(dt_ns), 2)}
    if heard.last_ns is None:
        silent = Level.OK if stale_s == float("inf") else Level.STALE
        return Reading(name, silent, "nothing heard yet", values)
    silent_s, age_s = seconds(now_ns - heard.last_ns), seconds(heard.age_ns)
    values |= {"silent_s": round(silent_s, 3), "age_max_ms": round(1e3 * age_s, 3)}
    if silent_s > stale_s:
        return Reading(name, Level.STALE, f"silent for {silent_s:.2f} s, allowed {stale_s:g}", values)
    if age_s > OLD * stale_s:
        return Reading(name, Level.WARN, f"{1e3 * age_s:.0f} ms old on arrival", values)
    return Reading(name, Level.OK, f"{values['rate_hz']} Hz", values)


@dataclass(frozen=True, slots=True)
class ServoState:
    """One servo as last heard `age_s` ago: `temperature` degC (None: nothing yet), its `faults`, exchanges `missed` so far."""

    joint: str
    age_s: float
    missed: int
    temperature: float | None
    faults: Sequence[str] = ()


def servo_reading(servos: Sequence[ServoState], hot: float, lost_s: float) -> Reading:
    """The servos of an arm, the worst one named. ERROR with a fault, from `hot` degC on, or silent for `lost_s`; WARN within
    `NEARLY_HOT` of `hot`."""
    judged = [(*_servo_level(servo, hot, lost_s), servo) for servo in servos]
    level, why, _ = max(judged, key=lambda one: one[0].value, default=(Level.OK, "no servo", None))
    values: dict[str, float | int | str] = {}
    for servo in servos:
        values[f"{servo.joint}.temperature_degC"] = "unknown" if servo.temperature is None else servo.temperature
        values[f"{servo.joint}.missed"] = servo.missed
    return Reading("servos", level, why, values)


def _servo_level(servo: ServoState, hot: float, lost_s: float) -> tuple[Level, str]:
    if servo.faults:
        return Level.ERROR, f"{servo.joint}: {', '.join(servo.faults)}"
    if servo.age_s > lost_s:
        return Level.ERROR, f"{servo.joint}: silent for {servo.age_s:.2f} s"
    if servo.temperature is None:
        return Level.OK, f"{servo.joint}: nothing heard yet"
    level = Level.ERROR if servo.temperature >= hot else Level.WARN if servo.temperature >= hot - NEARLY_HOT else Level.OK
    return level, f"{servo.joint}: {servo.temperature:.0f} degC of {hot:.0f} allowed" if level is not Level.OK else "well"


def gpu_reading(name: str, temperature: float, load: float, memory: float) -> Reading:
    """A GPU: `temperature` degC, `load` and `memory` as shares. The thresholds are `GPU_WARM`, `GPU_HOT`, `GPU_FULL`."""
    values = {"temperature_degC": temperature, "load": round(load, 3), "memory": round(memory, 3)}
    if temperature >= GPU_WARM:
        return Reading(name, Level.ERROR if temperature >= GPU_HOT else Level.WARN, f"{temperature:.0f} degC", values)
    full = memory > GPU_FULL
    return Reading(name, Level.WARN if full else Level.OK, "memory nearly full" if full else "well", values)
