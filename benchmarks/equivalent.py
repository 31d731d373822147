"""Bundles that are as good as another one: the same weights, exported with other seeds.

Two things in an export are drawn: the noise its candidates start from, and the selector that is trained on its features. Other
noise is planted into the graph (`planted.another_seed`), and is the same distribution of actions exactly; another selector is
trained and exported for real. Neither is a new training of the policy: that would be another policy, better or worse.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from benchmarks.planted import another_seed, rewritten
from robot_stack.config.schema import TacoSettings
from robot_stack.data.episode import Episode
from robot_stack.demo.train import read_episodes
from robot_stack.learn import feature_stride, log_folders
from robot_stack.types import Array

Make = Callable[[Path], object]
LESSONS = 32
"""A selector is trained again on as many samples as an export takes, out of so many of the last demonstrations: reading all of
them would cost more than everything else."""


@dataclass(frozen=True)
class Export:
    """What a bundle was exported from: a `checkpoint`, and the recorded `demonstrations` it was trained on."""

    bundle: Path
    checkpoint: Path
    demonstrations: Path
    taco: TacoSettings

    @cached_property
    def _lessons(self) -> tuple[Array, Sequence[Episode]]:
        """Features the selector learns from, and the episodes kept out of the training."""
        from policies.checkpoint import load_checkpoint
        from policies.features import features_of

        card = load_checkpoint(self.checkpoint)[1]
        cameras = tuple(name for name, _ in card.cameras)
        episodes = read_episodes(log_folders(self.demonstrations)[-LESSONS:], card.settings.rate_hz / 2, cameras)
        kept = episodes[: len(episodes) - card.train.holdout]
        return features_of(self.checkpoint, kept, card.settings.candidates, feature_stride(kept)), episodes[len(kept) :]

    def again(self, seed: int, out: Path) -> None:
        """The bundle exported once more to `out`, its selector trained from `seed`."""
        from policies.export import export_bundle
        from safety.taco import train_cfn

        features, kept_out = self._lessons
        export_bundle(self.checkpoint, out, train_cfn(features, self.taco, seed), kept_out)

    def noise(self, seed: int, out: Path) -> None:
        """The bundle with other noise, at `out`."""
        rewritten(self.bundle, out, another_seed(seed))


def equivalents(export: Export, noises: range, selectors: range) -> Iterator[tuple[str, Make]]:
    """The name of each equivalent bundle, and what writes it to a folder."""
    for seed in noises:
        yield f"other noise, seed {seed}", partial(export.noise, seed)
    for seed in selectors:
        yield f"exported again, selector seed {seed}", partial(export.again, seed)
