"""An episode log as arrays on an even time grid: at each sample the newest of everything, never anything later."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.clock import NS_PER_S
from robot_stack.data.episode import Episode
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.data.picture_cache import kept
from robot_stack.errors import DataError
from robot_stack.types import ARMED, Array, CameraFrame, Decision, FailureScore, Hazards, Image, JointState, Mode, Step

MODES = tuple(Mode)
DECISIONS = tuple(Decision)
"""The columns "mode" and "decision" hold indices into these."""

Times = NDArray[np.int64]


@dataclass
class _Seen:
    """All that is small, as recorded."""

    steps: list[Step] = field(default_factory=list)
    joints: list[JointState] = field(default_factory=list)
    hazards: list[Hazards] = field(default_factory=list)
    scores: list[FailureScore] = field(default_factory=list)
    first_frame: dict[str, int] = field(default_factory=dict)


def sent(log: EpisodeLog) -> EpisodeLog:
    """`log`, whose commands moved an arm. Raises DataError where it was recorded in shadow: nothing was sent."""
    if log.metadata.shadow:
        raise DataError(f"log {log.path.parent}: recorded in shadow, its commands were never sent; replay it, or leave it out")
    return log


def episode_from_log(
    log: EpisodeLog, rate_hz: float, cameras: Collection[str], modes: Collection[Mode] = ARMED, cache: Path | None = None
) -> Episode:
    """Samples at `rate_hz` from the first to the last tick in one of `modes`, starting when each of `cameras` has a frame.

    `q` as measured, `action` the command that was sent (n, J), pictures the newest at or before each sample. Columns:
    t_s (n,), qd (n, J), mode and decision (n,) indices into MODES and DECISIONS, margin, barrier, slack, lateness_s (n,),
    score, threshold (n,), hazard_p (n, K, 3) m and hazard_radius, hazard_sigma, hazard_age_s (n, K), NaN where not yet known.
    `cache`: a folder for decoded pictures, which then stay on the disk, mapped (see `picture_cache`).
    Raises DataError when the log has no tick in `modes`, or no frame of a camera, or was recorded in shadow.
    """
    times, episode = sampled(log, rate_hz, cameras, modes)
    if cache is None or not cameras:
        return replace(episode, images={camera: _pictures(log, camera, times) for camera in cameras})
    with log.path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return replace(episode, images={camera: _kept(log, camera, times, content, cache) for camera in cameras})


def sampled(log: EpisodeLog, rate_hz: float, cameras: Collection[str], modes: Collection[Mode] = ARMED) -> tuple[Times, Episode]:
    """When the rows of `episode_from_log` are (n,) ns, and that episode without pictures. `rate_hz` 0: a row for each tick."""
    seen = _read(sent(log), cameras)
    times = _grid(log, seen, rate_hz, modes)
    steps = [seen.steps[i] for i in _newest([s.t_ns for s in seen.steps], times)]
    joints = [seen.joints[i] for i in _newest([j.t_ns for j in seen.joints], times)]
    return times, Episode(
        name=log.name,
        rate_hz=rate_hz or _rate_hz(times),
        joint_names=log.metadata.joint_names,
        q=np.array([j.q for j in joints]),
        action=np.array([s.verdict.command.q for s in steps]),
        images={},
        instruction=log.metadata.instruction,
        columns={
            "t_s": (times - times[0]) / NS_PER_S,
            "qd": np.array([j.qd for j in joints]),
            **_step_columns(steps),
            **_score_columns(seen.scores, times),
            **_hazard_columns(seen.hazards, times),
        },
    )


def _read(log: EpisodeLog, cameras: Collection[str]) -> _Seen:
    seen = _Seen()
    lists: dict[type, list[Any]] = {Step: seen.steps, JointState: seen.joints, Hazards: seen.hazards, FailureScore: seen.scores}
    for _, _, value in log.iterate({"/arm/verdict", "/joint_states", "/monitor/hazards", "/monitor/score"}):
        if type(value) in lists:
            lists[type(value)].append(value)
    for camera in cameras:
        first = next((v for _, _, v in log.iterate({f"/{camera}/image"}) if isinstance(v, CameraFrame)), None)
        if first is None:
            raise DataError(
                f"log {log.path}: found no frame on /{camera}/image, allowed at least one; was its camera_node running?"
            )
        seen.first_frame[camera] = first.t_ns
    return seen


def _grid(log: EpisodeLog, seen: _Seen, rate_hz: float, modes: Collection[Mode]) -> Times:
    ticks = [s.t_ns for s in seen.steps if s.verdict.mode in modes]
    if not seen.joints:
        raise DataError(f"log {log.path}: found no joints on /joint_states, allowed at least one; was arm_node running?")
    if not ticks:
        names = sorted(m.value for m in modes)
        raise DataError(f"log {log.path}: found no tick in modes {names}; was the arm armed while this was recorded?")
    known = (
        max(seen.joints[0].t_ns, *seen.first_frame.values(), ticks[0]) if seen.first_frame else max(seen.joints[0].t_ns, ticks[0])
    )
    start = next((t for t in ticks if t >= known), None)
    if start is None:
        raise DataError(f"log {log.path}: the cameras' first frames came after the last tick in {sorted(m.value for m in modes)}")
    if not rate_hz:
        return np.array([t for t in ticks if t >= start], dtype=np.int64)
    count = int((ticks[-1] - start) * rate_hz // NS_PER_S) + 1
    times: Times = start + np.round(np.arange(count) * (NS_PER_S / rate_hz)).astype(np.int64)
    return times


def _rate_hz(times: Times) -> float:
    """How often, to a tenth of a hertz."""
    return round(NS_PER_S / float(np.median(np.diff(times))), 1) if len(times) > 1 else 1.0


def _newest(stamps: Iterable[int], times: Times) -> NDArray[np.intp]:
    """For each of `times` the index of the last of the sorted `stamps` at or before it; -1: none yet."""
    return np.searchsorted(np.fromiter(stamps, np.int64), times, side="right") - 1


def _kept(log: EpisodeLog, camera: str, times: Times, content: str, cache: Path) -> Image:
    """`_pictures`, from the cache if they are in it; `content`: what they are decoded from."""
    name = hashlib.sha256(repr((content, camera, times.tobytes())).encode()).hexdigest()[:32]
    return kept(cache / f"{name}.npy", lambda: _pictures(log, camera, times))


def _pictures(log: EpisodeLog, camera: str, times: Times) -> Image:
    images: Image | None = None
    written = np.zeros(len(times), dtype=bool)
    for _, _, frame in log.iterate({f"/{camera}/image"}):
        if not isinstance(frame, CameraFrame) or frame.t_ns > times[-1]:
            continue
        if images is None:
            images = np.zeros((len(times), *frame.rgb.shape), np.uint8)
        first = int(np.searchsorted(times, frame.t_ns))
        images[first], written[first] = frame.rgb, True
    assert images is not None, "the grid begins after the first frame"
    source = np.maximum.accumulate(np.where(written, np.arange(len(times)), 0))
    return images if written.all() else images[source]


def _step_columns(steps: list[Step]) -> dict[str, Array]:
    verdicts = [s.verdict for s in steps]
    return {
        "mode": np.array([MODES.index(v.mode) for v in verdicts], dtype=np.float64),
        "decision": np.array([DECISIONS.index(v.decision) for v in verdicts], dtype=np.float64),
        "margin": np.array([v.margin for v in verdicts]),
        "barrier": np.array([v.barrier for v in verdicts]),
        "slack": np.array([v.slack for v in verdicts]),
        "lateness_s": np.array([s.lateness_ns / NS_PER_S for s in steps]),
    }


def _score_columns(scores: list[FailureScore], times: Times) -> dict[str, Array]:
    rows = [
        (scores[i].score, scores[i].threshold) if i >= 0 else (np.nan, np.nan) for i in _newest([s.t_ns for s in scores], times)
    ]
    score, threshold = np.array(rows, dtype=np.float64).T
    return {"score": score, "threshold": threshold}


def _hazard_columns(hazards: list[Hazards], times: Times) -> dict[str, Array]:
    most = max((len(h.radius) for h in hazards), default=0)
    centres = np.full((len(times), most, 3), np.nan)
    radius, sigma, age_s = (np.full((len(times), most), np.nan) for _ in range(3))
    for row, i in enumerate(_newest([h.t_ns for h in hazards], times)):
        if i >= 0:
            found, k = hazards[i], len(hazards[i].radius)
            centres[row, :k], radius[row, :k], sigma[row, :k] = found.p_W, found.radius, found.sigma
            age_s[row, :k] = (times[row] - found.t_ns) / NS_PER_S
    return {"hazard_p": centres, "hazard_radius": radius, "hazard_sigma": sigma, "hazard_age_s": age_s}
