import re
from xml.etree import ElementTree

import numpy as np
import pytest

from robot_stack.replay.plots import LEFT, RIGHT, WIDTH, counts_plot, curve, interval, ruler, spark, time_axis, timeline
from robot_stack.replay.views import Counts, Span


def test_time_begins_at_the_left_edge_and_ends_at_the_right():
    x = time_axis(4.0)
    assert (x(0), x(4), x(9), x(-1)) == (LEFT, WIDTH - RIGHT, WIDTH - RIGHT, LEFT)


@pytest.mark.parametrize(
    "drawing",
    [
        timeline([Span(0, 1, "policy"), Span(1, 2, "stop", "a < b & c")], 2.0, {}, "mode", named=True),
        curve(np.arange(3.0), np.array([1.0, np.nan, np.inf]), 2.0, "margin", floor=0.0),
        curve(np.arange(2.0), np.full(2, np.nan), 0.0, "nothing"),
        counts_plot([Counts(0.5, (0.0, 3.0), 1), Counts(0.6, (2.0,), 7)], 1.0, "counts"),
        interval(3, 20, (0.1, 0.4), good=False),
        spark([(0, 1.0), (1, float("nan")), (2, 0.5)], "loss"),
        ruler(0.0),
    ],
)
def test_every_drawing_is_well_formed_and_free_of_nan(drawing):
    ElementTree.fromstring(drawing)
    assert not re.search(r"\bnan\b|\binf\b", drawing)


def test_a_single_dip_survives_thinning():
    values = np.ones(100_000)
    values[54_321] = -1.0
    drawing = curve(np.arange(100_000.0), values, 100_000.0, "margin", floor=0.0)
    bottom = max(float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawing.split('class="limit"')[-1]))
    assert bottom > 60
    assert len(drawing) < 20_000


def test_a_training_curve_of_one_point_is_not_drawn():
    assert spark([(0, 1.0)], "loss") == ""
