"""How a certified set compares with the exact one, by counting points of the grid."""

from typing import Any

import numpy as np

from robot_stack.types import Array
from safety.affine_filter import StateBarrier
from safety.avoid_value import GridBarrier


def compare(barrier: StateBarrier, level: float, exact: GridBarrier, h: Array) -> dict[str, Any]:
    """Shares, `h` (n,) being the margin at the grid's points. `certified` and `exact`: of the river. `false_safe`: of the
    certified set, what is unsafe. `doomed_called_safe`: of the states clear of rocks from which no action helps.
    `rock_called_safe`: of the rocks. `safe_lost`: of the exact set. `iou` of the safe sets; `iou_unsafe` of what is left, the
    sharper figure, since 93 % of the river is safe."""
    ours = barrier.values_and_gradients(exact.grid.nodes)[0] >= level
    truth = exact.values.reshape(-1) >= 0
    doomed, rock = ~truth & (h >= 0), h < 0
    return {
        "certified": _share(ours),
        "exact": _share(truth),
        "false_safe": _share(~truth[ours]),
        "doomed_called_safe": _share(ours[doomed]),
        "rock_called_safe": _share(ours[rock]),
        "safe_lost": _share(~ours[truth]),
        "iou": _share((ours & truth)[ours | truth]),
        "iou_unsafe": _share((~ours & ~truth)[~ours | ~truth]),
    }


def _share(mask: Array) -> float | None:
    return round(float(np.mean(mask)), 4) if mask.size else None
