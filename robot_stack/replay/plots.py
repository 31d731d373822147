"""Small inline SVG drawings for the report; those of one episode share a time axis. Pure functions of their arguments."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from robot_stack.replay.views import Counts, Span
from robot_stack.types import Array

WIDTH, LEFT, RIGHT = 1000.0, 92.0, 12.0
MODE_COLOURS = {"disarmed": "#a3adb8", "policy": "#2f6fde", "teleop": "#0f9d8a", "fallback": "#e0930f", "stop": "#d13b3b"}
DECISION_COLOURS = {"pass": "#e4e9ee", "limit": "#f0b43c", "hold": "#e2703a", "stop": "#a11d2b"}
INK, MUTED, GRID, LINE, ALARM = "#1c2733", "#6b7885", "#e6eaee", "#2f6fde", "#d13b3b"
MAX_POINTS = 500

Axis = Callable[[float], float]


def time_axis(duration_s: float) -> Axis:
    """Seconds -> x of the drawing."""
    span = max(duration_s, 1e-9)
    return lambda t: LEFT + (WIDTH - LEFT - RIGHT) * min(max(t / span, 0.0), 1.0)


def svg(height: float, body: Sequence[str], label: str) -> str:
    """A drawing WIDTH wide that scales with the page; `label` names it, also for screen readers."""
    title = f'<text x="0" y="{height / 2 + 4:.0f}" class="name">{escape(label)}</text>' if label else ""
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">{title}{"".join(body)}</svg>'


def timeline(spans: Sequence[Span], duration_s: float, colours: dict[str, str], label: str, named: bool) -> str:
    """Coloured bars, one for each span; `named`: the name is written inside where it fits."""
    x, height = time_axis(duration_s), 26.0 if named else 14.0
    body = []
    for span in spans:
        left, right = x(span.begin_s), x(span.end_s)
        width = max(right - left, 1.5)
        why = f" because {span.why}" if span.why else ""
        tip = f"{span.name}{why}, {span.begin_s:.2f}-{span.end_s:.2f} s"
        fill = colours.get(span.name, MUTED)
        box = f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="{height - 2:.0f}" fill="{fill}">'
        body.append(f"{box}<title>{escape(tip)}</title></rect>")
        words = f"{span.name}: {span.why}" if span.why and width > 7 * len(span.name + span.why) + 20 else span.name
        if named and width > 7 * len(words) + 8:
            body.append(f'<text x="{left + 6:.1f}" y="16" class="inside">{escape(words)}</text>')
    return svg(height, body, label)


def ruler(duration_s: float) -> str:
    """The seconds under an episode's drawings."""
    x, step = time_axis(duration_s), _nice(duration_s / 8)
    ticks = np.arange(0.0, duration_s + 1e-9, step)
    marks = [f'<text x="{x(t):.1f}" y="12" class="tick" text-anchor="middle">{t:g} s</text>' for t in ticks]
    return svg(16.0, marks, "")


def curve(
    t_s: Array,
    values: Array,
    duration_s: float,
    label: str,
    floor: float | None = None,
    limit: Array | None = None,
    alarms: Sequence[Span] = (),
) -> str:
    """`values` over `t_s`, gaps where not finite. `floor`: not to be fallen below; `limit` (n,): not to be exceeded.

    `alarms` are shaded over the whole height: an alarm may have a cause other than the value.
    """
    height, x = 78.0, time_axis(duration_s)
    shown = [values] + ([limit] if limit is not None else []) + ([np.array([floor])] if floor is not None else [])
    low, high = _range(np.concatenate(shown))
    y = _scale(low, high, height)
    body = _frame(y, low, high, height)
    if floor is not None:
        box = f'x="{LEFT}" y="{y(floor):.1f}" width="{WIDTH - LEFT - RIGHT}" height="{height - 6 - y(floor):.1f}"'
        body += [f'<rect {box} class="bad"/>', f'<path d="M{LEFT} {y(floor):.1f}H{WIDTH - RIGHT}" class="limit"/>']
    for span in alarms:
        box = f'x="{x(span.begin_s):.1f}" y="6" width="{max(x(span.end_s) - x(span.begin_s), 2):.1f}" height="{height - 12:.0f}"'
        body.append(
            f'<rect {box} class="alarm"><title>{escape(f"{span.name}, {span.begin_s:.2f}-{span.end_s:.2f} s")}</title></rect>'
        )
    if limit is not None:
        body.append(f'<path d="{_path(t_s, limit, x, y)}" class="limit"/>')
    body.append(f'<path d="{_path(*_thin(t_s, values, worst_is_low=floor is not None), x, y)}" class="line"/>')
    return svg(height, body, label)


def counts_plot(counts: Sequence[Counts], duration_s: float, label: str) -> str:
    """Pseudo-counts of each decision: from the smallest to the largest candidate, a tick at the median, a dot at the winner."""
    height, x = 78.0, time_axis(duration_s)
    low, high = _range(np.log10(np.maximum(np.concatenate([np.array(c.counts) for c in counts]), 1e-9)))
    y = _scale(low, high, height)
    body = _frame(y, low, high, height, text=lambda v: f"{10**v:.3g}")
    for c in counts:
        logs = np.log10(np.maximum(np.array(c.counts), 1e-9))
        at, bottom, top, middle = x(c.t_s), y(float(logs.min())), y(float(logs.max())), y(float(np.median(logs)))
        body.append(f'<path d="M{at:.1f} {bottom:.1f}V{top:.1f}M{at - 2:.1f} {middle:.1f}h4" class="whisker"/>')
        if 0 <= c.winner < len(logs):
            won = y(float(logs[c.winner]))
            tip = f"{c.t_s:.2f} s: candidate {c.winner} of {len(logs)}, count {c.counts[c.winner]:.3g}"
            body.append(f'<circle cx="{at:.1f}" cy="{won:.1f}" r="2.4" class="dot"><title>{escape(tip)}</title></circle>')
    return svg(height, body, label)


def interval(k: int, n: int, bounds: tuple[float, float], good: bool) -> str:
    """A rate k / n as a bar with its confidence interval (`bounds` in 0..1) as a whisker."""
    low, high = bounds
    rate, colour = (k / n if n else 0.0), "#7fb69b" if good else "#dd8a83"
    whisker = f"M{100 * low:.1f} 8H{100 * high:.1f}M{100 * low:.1f} 5v6M{100 * high:.1f} 5v6"
    bar = f'<rect x="0" y="2" width="{100 * rate:.1f}" height="12" fill="{colour}"/>'
    frame = '<rect x="0" y="2" width="100" height="12" fill="#f0f3f5"/>'
    return f'<svg viewBox="-1 0 102 16" class="rate" role="img">{frame}{bar}<path d="{whisker}" class="whisker strong"/></svg>'


def spark(points: Sequence[tuple[float, float]], label: str) -> str:
    """A training curve: any x, finite y."""
    rows = np.array([p for p in points if np.isfinite(p[1])], dtype=np.float64).reshape(-1, 2)
    if len(rows) < 2:
        return ""
    height, span = 110.0, max(float(rows[-1, 0] - rows[0, 0]), 1e-9)
    low, high = _range(rows[:, 1])
    y = _scale(low, high, height)
    x = time_axis(span)
    body = _frame(y, low, high, height)
    body.append(f'<path d="{_path(*_thin(rows[:, 0] - rows[0, 0], rows[:, 1], worst_is_low=False), x, y)}" class="line"/>')
    return svg(height, body, label)


def _frame(y: Axis, low: float, high: float, height: float, text: Callable[[float], str] = "{:.3g}".format) -> list[str]:
    lines = [f'<path d="M{LEFT} {y(v):.1f}H{WIDTH - RIGHT}" class="grid"/>' for v in (low, high)]
    words = [f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" class="tick" text-anchor="end">{text(v)}</text>' for v in (low, high)]
    return [f'<rect x="{LEFT}" y="6" width="{WIDTH - LEFT - RIGHT}" height="{height - 12}" class="pane"/>', *lines, *words]


def _scale(low: float, high: float, height: float) -> Axis:
    return lambda v: 6 + (height - 12) * (1 - min(max((v - low) / (high - low), 0.0), 1.0))


def _range(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    pad = 0.06 * (high - low) or 0.5 * max(abs(high), 1e-3)
    return low - pad, high + pad


def _thin(t_s: Array, values: Array, worst_is_low: bool) -> tuple[Array, Array]:
    """At most MAX_POINTS points; of each bucket the worst is kept, so that no dip or peak is lost."""
    if len(values) <= MAX_POINTS:
        return t_s, values
    edges = np.linspace(0, len(values), MAX_POINTS + 1).astype(int)
    fill = np.inf if worst_is_low else -np.inf
    clean = np.where(np.isnan(values), fill, values)
    pick = [
        a + int(np.argmin(clean[a:b]) if worst_is_low else np.argmax(clean[a:b])) for a, b in zip(edges, edges[1:], strict=False)
    ]
    return t_s[pick], values[pick]


def _path(t_s: Array, values: Array, x: Axis, y: Axis) -> str:
    parts, pen_down = [], False
    for t, v in zip(t_s, values, strict=True):
        if np.isfinite(v):
            parts.append(f"{'L' if pen_down else 'M'}{x(float(t)):.1f} {y(float(v)):.1f}")
        pen_down = bool(np.isfinite(v))
    return "".join(parts)


def _nice(step: float) -> float:
    """The next of 1, 2, 5 x 10^k at or above `step`."""
    power = 10.0 ** np.floor(np.log10(max(step, 1e-3)))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= step))
