"""The drawings of the verdict page, as inline SVG; the shared pieces are those of `replay.plots`. Pure functions."""

from collections.abc import Callable, Sequence
from html import escape
from math import ceil

from robot_stack.replay import plots
from robot_stack.replay.gate.evidence import Paired
from robot_stack.replay.gate.probes import Worst
from robot_stack.replay.protections import difference, wilson

CANDIDATE, AGAINST, DONE = "#2f6fde", "#6b7885", "#1d7a4f"
BOTTOM = 16.0
Band = Sequence[tuple[float, float]]
Scale = Callable[[float], float]


def race(pair: Paired) -> str:
    """Success of both bundles after each pair, with the Wilson 95 % interval of the rate so far."""
    n = len(pair.candidate)
    x, y = _pairs_axis(n), _scale(0.0, 1.0, 130.0)
    body = _pane(y, [(v, f"{v:.0%}") for v in (0.0, 0.5, 1.0)], 130.0)
    for flags, colour in zip(pair.flags("success"), (CANDIDATE, AGAINST), strict=True):
        done = [sum(flags[: i + 1]) for i in range(n)]
        body += _curve(x, y, [k / (i + 1) for i, k in enumerate(done)], [wilson(k, i + 1) for i, k in enumerate(done)], colour)
    return plots.svg(130.0 + BOTTOM, [*body, *_pair_numbers(x, n, 130.0)], "success")


def gap(pair: Paired, margin: float) -> str:
    """How much more often the candidate succeeds after each pair, in points, with its 95 % interval; the margin is dashed."""
    one, other = pair.flags("success")
    n = len(one)
    bounds = [difference(one[: i + 1], other[: i + 1]) for i in range(n)]
    reach = max(0.2, ceil(10 * max(abs(v) for both in bounds[n // 4 :] for v in both)) / 10)
    x, y = _pairs_axis(n), _scale(-reach, reach, 130.0)
    body = _pane(y, [(v, f"{100 * v:+.0f}" if v else "0") for v in (-reach, 0.0, reach)], 130.0)
    body.append(f'<path d="M{plots.LEFT} {y(-margin):.1f}H{plots.WIDTH - plots.RIGHT}" class="limit"/>')
    rates = [(sum(one[: i + 1]) - sum(other[: i + 1])) / (i + 1) for i in range(n)]
    body += _curve(x, y, rates, bounds, CANDIDATE)
    return plots.svg(130.0 + BOTTOM, [*body, *_pair_numbers(x, n, 130.0)], "points")


def chunk(worst: Worst) -> str:
    """Rows of both bundles' chunks and what was done, of the joint that is furthest off."""
    values = [v for line in worst.rows for v in line]
    pad = 0.08 * (max(values) - min(values)) + 1e-3
    low, high = min(values) - pad, max(values) + pad
    duration_s = (len(worst.rows[0]) - 1) * worst.dt_s
    x, y = plots.time_axis(duration_s), _scale(low, high, 90.0)
    body = _pane(y, [(low, f"{low:.3g}"), (high, f"{high:.3g}")], 90.0)
    for line, colour in zip(worst.rows, (DONE, CANDIDATE, AGAINST), strict=True):
        points = " ".join(f"{x(i * worst.dt_s):.1f},{y(v):.1f}" for i, v in enumerate(line))
        body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return plots.svg(90.0, body, worst.joint) + plots.ruler(duration_s)


def _pairs_axis(n: int) -> Scale:
    return plots.time_axis(float(max(n - 1, 1)))


def _scale(low: float, high: float, height: float) -> Scale:
    return lambda v: 6 + (height - 12) * (1.0 - (min(max(v, low), high) - low) / (high - low))


def _pane(y: Scale, marks: Sequence[tuple[float, str]], height: float) -> list[str]:
    width = plots.WIDTH - plots.LEFT - plots.RIGHT
    lines = [f'<path d="M{plots.LEFT} {y(v):.1f}H{plots.WIDTH - plots.RIGHT}" class="grid"/>' for v, _ in marks]
    words = [
        f'<text x="{plots.LEFT - 6}" y="{y(v) + 4:.1f}" class="tick" text-anchor="end">{escape(text)}</text>' for v, text in marks
    ]
    return [f'<rect x="{plots.LEFT}" y="6" width="{width}" height="{height - 12}" class="pane"/>', *lines, *words]


def _curve(x: Scale, y: Scale, values: Sequence[float], bounds: Band, colour: str) -> list[str]:
    upper = [f"{x(i):.1f},{y(high):.1f}" for i, (_, high) in enumerate(bounds)]
    lower = [f"{x(i):.1f},{y(low):.1f}" for i, (low, _) in enumerate(bounds)]
    line = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
    return [
        f'<polygon points="{" ".join([*upper, *reversed(lower)])}" fill="{colour}" opacity=".13"/>',
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
    ]


def _pair_numbers(x: Scale, n: int, height: float) -> list[str]:
    """1, the last one, and a few round numbers between: how many pairs."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, n) if n / s <= 10)
    shown = sorted({1, n, *(k for k in range(step, n, step) if n - k > step / 2)})
    return [
        f'<text x="{x(k - 1):.1f}" y="{height + 8:.0f}" class="tick" text-anchor="middle">{k}{" pairs" if k == n else ""}</text>'
        for k in shown
    ]
