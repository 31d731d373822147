"""What a policy gone wrong sends: a good chunk with one thing wrong with it, and otherwise such that it would be played."""

from dataclasses import replace

import numpy as np

from robot_stack.control import TELEOP_SOURCE
from robot_stack.types import ActionChunk

SOURCE = "gone_wrong"
"""`ActionChunk.source` of what is sent here, but for a repeated chunk and a human's: who listens knows its own."""
FAR_NS = 10_000_000_000
"""How far in the past or future is far."""


def bad_chunk(kind: str, good: ActionChunk, names: tuple[str, ...], now_ns: int) -> tuple[ActionChunk, tuple[str, ...]]:
    """`good` (T, J), the last one of the policy, as `kind` of `faults.table.CHUNK_KINDS` at `now_ns`, and the joints it names."""
    fresh, rows = replace(good, t_obs_ns=now_ns, t0_ns=now_ns, source=SOURCE), good.q.copy()
    match kind:
        case "not_finite":
            rows[len(rows) // 2, 0] = np.nan
            return replace(fresh, q=rows), names
        case "other_joint_order":
            return fresh, names[::-1]
        case "a_joint_missing":
            return replace(fresh, q=rows[:, :-1]), names[:-1]
        case "ancient":
            return replace(fresh, t0_ns=now_ns - FAR_NS), names
        case "out_of_order":
            return replace(fresh, t_obs_ns=good.t_obs_ns - 1), names
        case "duplicate":
            return good, names
        case "from_the_future":
            return replace(fresh, t_obs_ns=now_ns + FAR_NS), names
        case "of_a_human":
            return replace(fresh, source=TELEOP_SOURCE), names
        case _:
            raise ValueError(f"chunk: found {kind!r}, allowed those of faults.table.CHUNK_KINDS")
