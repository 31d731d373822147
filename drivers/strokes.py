"""Smooth hand motions as superposed minimum-jerk strokes (Flash and Hogan 1985; superposition: Flash and Henis 1991).

A stroke of duration T moves by ``delta * (10 s^3 - 15 s^4 + 6 s^5)``, ``s = (t - t_start) / T``. Strokes that overlap
in time add up, which rounds the corners between them. A plan begun in motion lets the old velocity fade by the
quintic ``v T (s - 6 s^3 + 8 s^4 - 3 s^5)``, which ends at rest where it began.
"""

from dataclasses import dataclass, field

import numpy as np

from robot_stack.types import Array

_FADE_S = 0.4


@dataclass(frozen=True, slots=True)
class Stroke:
    """Move by `delta` (D,) between `start_s` and `start_s + duration_s`."""

    start_s: float
    duration_s: float
    delta: Array


@dataclass(slots=True)
class StrokePlan:
    """Where to be when: begins at `origin` (D,) with `velocity` (D,) 1/s; `to` appends strokes, `at` reads the plan."""

    origin: Array
    velocity: Array
    strokes: list[Stroke] = field(default_factory=list)
    end_s: float = 0.0

    def to(self, target: Array, duration_s: float, overlap: float = 0.0) -> None:
        """Append a stroke to `target` (D,) that begins `overlap` (share of its duration) before the last one ends."""
        delta = target - self.goal
        start_s = self.end_s - overlap * (self.strokes[-1].duration_s if self.strokes else 0.0)
        self.strokes.append(Stroke(start_s, duration_s, delta))
        self.end_s = max(self.end_s, start_s + duration_s)

    @property
    def goal(self) -> Array:
        """Where the plan ends (D,)."""
        return np.array(sum((s.delta for s in self.strokes), start=self.origin))

    def at(self, t_s: float) -> Array:
        """The place (D,) at `t_s` after the plan began; the end of the plan from then on."""
        s = min(max(t_s / _FADE_S, 0.0), 1.0)
        place = self.origin + self.velocity * (_FADE_S * (s - 6 * s**3 + 8 * s**4 - 3 * s**5))
        for stroke in self.strokes:
            s = min(max((t_s - stroke.start_s) / stroke.duration_s, 0.0), 1.0)
            place = place + stroke.delta * (10 * s**3 - 15 * s**4 + 6 * s**5)
        return np.asarray(place)
