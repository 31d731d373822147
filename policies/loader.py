"""Batches of a training: drawn at random, augmented, and ready when the step before is done.

The draws of a step are seeded by (seed, step, part) alone: a run that goes on after a stop sees the batches it would have seen.
They are drawn one step ahead by a thread of their own, which takes nothing from the result: its dice are handed on with the
batch, and the network's own draws (noise, dropout) go on from there.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from policies.augment import colour, shift
from policies.frames import Frames
from robot_stack.config.schema import TrainSettings


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples: `pictures` one float (B, h, w, 3), 0..255, per camera, augmented; the rest as in `Frames`.

    `jolt` (B, J): standard normal; `rows` (B,): which frames they are; `path`: that of each sample's episode, and `liked`,
    `other`, `margin` of as many pairs of episodes (`oppo`; all empty without preferences); `dice`: the state of the generator
    after these draws.
    """

    pictures: list[Tensor]
    q: Tensor
    qd: Tensor
    chunk: Tensor
    ahead: Tensor
    tokens: Tensor
    jolt: Tensor
    rows: Tensor
    path: Tensor
    liked: Tensor
    other: Tensor
    margin: Tensor
    dice: Tensor
    seed: int = 0

    def to(self, device: torch.device) -> "Batch":
        """On `device`, all but the dice; itself where that is the CPU."""
        if device.type == "cpu":
            return self
        rest = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name not in ("pictures", "dice", "seed")}
        return Batch([p.to(device) for p in self.pictures], dice=self.dice, seed=self.seed, **rest)

    def roll_on(self) -> None:
        """Let torch's own generators go on after this batch's draws."""
        torch.set_rng_state(self.dice)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed(self.seed)


def draw(frames: Frames, size: int, train: TrainSettings, dice: torch.Generator, seed: int = 0) -> Batch:
    """`size` random samples, as often as their odds say, with pictures shifted and recoloured."""
    odds = frames.odds
    if odds is None:
        pick = torch.randint(len(frames), (size,), generator=dice)
    else:
        pick = torch.multinomial(odds, size, replacement=True, generator=dice)
    pictures = [colour(shift(p[pick], train.shift, dice), train.colour, dice) for p in frames.pictures]
    q = frames.q[pick]
    jolt = torch.randn(q.shape, generator=dice)
    tables = (q, frames.qd[pick], frames.chunk[pick], frames.ahead[pick], frames.tokens[pick])
    none, paths = torch.empty(0), frames.paths
    wishes = (none,) * 4 if paths is None else (paths.rows[paths.of[pick]], *paths.pairs(size, dice))
    return Batch(pictures, *tables, jolt, pick, *wishes, dice.get_state(), seed)


class Loader:
    """The batches of one process: of each step the `parts` it computes. `waited_s`: how long the caller has waited for them."""

    def __init__(self, frames: Frames, train: TrainSettings, parts: range) -> None:
        self.frames, self.train, self.parts = frames, train, parts
        self.waited_s = 0.0
        self._ahead: tuple[int, Future[list[Batch]]] | None = None
        self._thread = ThreadPoolExecutor(1, "loader") if train.prefetch else None

    def batches(self, step: int) -> list[Batch]:
        """Those of `step`. The thread begins with the next step's."""
        begin = time.perf_counter()
        found = self._drawn(step)
        self.waited_s += time.perf_counter() - begin
        if self._thread:
            self._ahead = step + 1, self._thread.submit(self._draw, step + 1)
        return found

    def close(self) -> None:
        """End the thread."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)

    def _drawn(self, step: int) -> list[Batch]:
        if self._ahead and self._ahead[0] == step:
            return self._ahead[1].result()
        return self._draw(step)

    def _draw(self, step: int) -> list[Batch]:
        size = self.train.batch // max(1, self.train.parts)
        seeds = [seed_of(self.train.seed, step, part) for part in self.parts]
        return [draw(self.frames, size, self.train, torch.Generator().manual_seed(seed), seed) for seed in seeds]


def seed_of(seed: int, step: int, part: int) -> int:
    """One number for all draws of `part` of the batch of `step`."""
    return seed * 1_000_003 + step + (part << 40)
