"""The chunk that is playing. A chunk carries time: rows that are late are dropped, never played late.

Only the arm may take longer than its chunk says: where the filter slowed it along the path, `control` asks for the wish of the
time it has got to, until a newer chunk plays.
"""

from dataclasses import dataclass

import numpy as np

from robot_stack.types import ActionChunk, Array, JointCommand, Reason


def rows_at(chunk: ActionChunk, t_ns: int, dt_ns: int, rows: int) -> Array:
    """The joints (rows, J) that `chunk` wants at `t_ns`, `t_ns` + `dt_ns`, ...: linear between its rows, held beyond them."""
    own, asked = chunk.t0_ns - t_ns + chunk.dt_ns * np.arange(len(chunk.q)), dt_ns * np.arange(rows)
    return np.stack([np.interp(asked, own, joint) for joint in chunk.q.T], axis=1)


@dataclass(frozen=True, slots=True)
class ChunkBuffer:
    """The playing chunk and, until its first row is due, the next one. Immutable: `push` returns the new buffer."""

    playing: ActionChunk | None = None
    coming: ActionChunk | None = None

    def push(self, chunk: ActionChunk, now_ns: int) -> tuple["ChunkBuffer", Reason | None]:
        """The buffer with `chunk` in it; or this one, and why: all its rows are late, or it is older than what is held.

        One of an observation that is yet to come is refused too: held, it would make every good one after it the older.
        """
        newest = self.coming or self.playing
        if chunk.t_obs_ns > now_ns or (newest is not None and chunk.t_obs_ns <= newest.t_obs_ns):
            return self, Reason.CHUNK_OUT_OF_ORDER
        if chunk.t_end_ns < now_ns:
            return self, Reason.CHUNK_STALE
        current = self.turn(now_ns)
        if chunk.t0_ns <= now_ns or current.playing is None:
            return ChunkBuffer(chunk), None
        return ChunkBuffer(current.playing, chunk), None

    def turn(self, now_ns: int) -> "ChunkBuffer":
        """The buffer as it is at `now_ns`: the coming chunk plays once its first row is due."""
        if self.coming is not None and self.coming.t0_ns <= now_ns:
            return ChunkBuffer(self.coming)
        return self

    def at(self, now_ns: int) -> JointCommand | None:
        """The wish for `now_ns`: linear between rows, `qd` the slope; None before the first row and after the last."""
        chunk = self.due(now_ns)
        if chunk is None:
            return None
        row, rest_ns = divmod(now_ns - chunk.t0_ns, chunk.dt_ns)
        row = min(row, chunk.q.shape[0] - 2)
        rest = (now_ns - chunk.t0_ns - row * chunk.dt_ns) / chunk.dt_ns
        with np.errstate(over="ignore", invalid="ignore"):  # rows may be absurd: the filter decides
            step = chunk.q[row + 1] - chunk.q[row]
            return JointCommand(now_ns, chunk.q[row] + rest * step, step * (1e9 / chunk.dt_ns))

    def due(self, now_ns: int) -> ActionChunk | None:
        """The chunk with a row due at `now_ns`, or None."""
        chunk = self.turn(now_ns).playing
        return chunk if chunk is not None and chunk.t0_ns <= now_ns <= chunk.t_end_ns else None
