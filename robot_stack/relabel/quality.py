"""The quality of each episode among the others: corrupted steps, jerk, idle time, modes, TQ and SACo, near-duplicates, leakage.

Per row: `quality_z` (the largest robust z, `outliers`) and `quality_idle` (0 or 1). Once: `quality_outliers` (share of rows),
`quality_corrupt`, `quality_jerk`, `quality_idle_share`, `quality_tracking`, `quality_mode`, `quality_return`, `quality_tq`,
`quality_saco` (share of the data set's unique (s, a)), `quality_alone` (share of rows where no other episode has been),
`quality_twin` (a near-duplicate of it, or "") and `quality_leak` (held out, and also among those trained on: which).
All numbers of the data set, without pictures, are held in memory at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_stack.config.labellers import QualitySettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.labels import Labels
from robot_stack.data.recording import Recording
from robot_stack.errors import DataError
from robot_stack.relabel import coverage, likeness
from robot_stack.relabel.labeller import Labeller
from robot_stack.relabel.motion import Motion, motion_of
from robot_stack.relabel.outliers import StepQuality, jerk, step_quality, tracking
from robot_stack.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeQuality:
    """One line of the table; the rows' part is in `steps`."""

    name: str
    rows: int
    seconds: float
    steps: StepQuality
    jerk: float
    tracking: float
    mode: int
    gain: float
    tq: float
    saco: float
    alone: float
    twin: str
    leak: str

    @property
    def labels(self) -> Labels:
        """As the labeller writes them."""
        return {
            "quality_z": self.steps.z,
            "quality_idle": self.steps.idle,
            "quality_outliers": self.steps.outliers,
            "quality_corrupt": self.steps.corrupt,
            "quality_jerk": self.jerk,
            "quality_idle_share": float(self.steps.idle.mean()),
            "quality_tracking": self.tracking,
            "quality_mode": self.mode,
            "quality_return": self.gain,
            "quality_tq": self.tq,
            "quality_saco": self.saco,
            "quality_alone": self.alone,
            "quality_twin": self.twin,
            "quality_leak": self.leak,
        }

    @property
    def flags(self) -> list[str]:
        """What to look at, as short words."""
        odd = [f"corrupt: {100 * self.steps.outliers:.0f} % of rows"] if self.steps.corrupt else []
        return odd + ([f"twin of {self.twin}"] if self.twin else []) + ([f"leaks from {self.leak}"] if self.leak else [])


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """A data set's: `episodes` in its order, the silhouette of their modes, and the map of where they have been."""

    episodes: Sequence[EpisodeQuality]
    silhouette: float
    covered: coverage.CoverageMap

    def __str__(self) -> str:
        names = (("outliers", 9), ("jerk", 10), ("idle", 6), ("track", 8), ("mode", 5), ("TQ", 7), ("SACo", 7), ("alone", 7))
        head = f"{'episode':<24}{'rows':>6}{''.join(f'{name:>{width}}' for name, width in names)}  look at"
        return "\n".join([head, *(_line(episode) for episode in self.episodes), *self.summary])

    @property
    def summary(self) -> list[str]:
        """Sentences on the whole."""
        flagged = sum(1 for episode in self.episodes if episode.flags)
        number = len({episode.mode for episode in self.episodes})
        clear = f", silhouette {self.silhouette:.2f}" if number > 1 else ""
        return [f"{len(self.episodes)} episodes, {flagged} to look at; {number} mode{'s' if number > 1 else ''} of motion{clear}"]


def quality(motions: Sequence[Motion], settings: QualitySettings) -> Quality:
    """Of all `motions`, the last `settings.holdout` of which are held out. Raises DataError when they differ in their numbers."""
    kinds = sorted({(m.q.shape[1], m.action.shape[1]) for m in motions})
    if len(kinds) != 1:
        raise DataError(f"quality: found episodes with (states, actions) of {kinds} numbers, allowed one kind; split the dataset")
    split = len(motions) - settings.holdout if 0 < settings.holdout < len(motions) else len(motions)
    twins = likeness.near_duplicates(motions, settings.near)
    leaks = {pair.one: pair.other for pair in likeness.leaks(motions[:split], motions[split:], settings.near)}
    labels, clear = likeness.modes(motions, settings.seed)
    covered, saco = coverage.coverage_map(motions), coverage.shares(motions)
    gains = np.array([np.nan if m.reward is None else float(m.reward.sum()) for m in motions])
    tq = _tq(gains, settings)
    rows = [
        EpisodeQuality(
            name=m.name,
            rows=len(m),
            seconds=len(m) / m.rate_hz,
            steps=steps,
            jerk=jerk(m),
            tracking=tracking(m),
            mode=labels[i],
            gain=float(gains[i]),
            tq=float(tq[i]),
            saco=float(saco[i]),
            alone=float(covered.alone[i]),
            twin=next((p.one if p.other == m.name else p.other for p in twins if m.name in (p.one, p.other)), ""),
            leak=leaks.get(m.name, ""),
        )
        for i, (m, steps) in enumerate(zip(motions, step_quality(motions), strict=True))
    ]
    return Quality(rows, clear, covered)


def _tq(gains: Array, settings: QualitySettings) -> Array:
    """NaN without rewards, or where all returns are alike and no reference was given."""
    known = gains[np.isfinite(gains)]
    low, high = (
        (settings.g_min, settings.g_max) if settings.g_max > settings.g_min else (known.min(initial=0.0), known.max(initial=0.0))
    )
    return coverage.trajectory_quality(gains, low, high) if high > low else np.full_like(gains, np.nan)


def _line(e: EpisodeQuality) -> str:
    shares = f"{100 * e.steps.outliers:>7.1f} %{e.jerk:>10.3g}{100 * float(e.steps.idle.mean()):>4.0f} %{e.tracking:>8.3g}"
    return f"{e.name:<24}{e.rows:>6}{shares}{e.mode:>5}{e.tq:>7.2f}{e.saco:>7.3f}{e.alone:>7.2f}  {'; '.join(e.flags)}"


def measure(episode: Recording, settings: QualitySettings) -> Motion:
    """The numbers of one episode."""
    return motion_of(episode)


def gather(facts: Mapping[str, Motion], settings: QualitySettings, catalogue: Catalogue) -> Quality:
    """The quality of all, and its page where one is asked for."""
    found = quality(list(facts.values()), settings)
    if settings.page:
        from robot_stack.relabel.quality_page import write_page

        write_page(found, catalogue.root.name, Path(settings.page))
    return found


def label(episode: Recording, settings: QualitySettings, gathered: Quality) -> Labels:
    """One line of the table, and the part of the rows."""
    return next(found.labels for found in gathered.episodes if found.name == episode.name)


LABELLER = Labeller("quality", 1, label, measure=measure, gather=gather, tell=str)
