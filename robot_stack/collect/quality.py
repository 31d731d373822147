"""Is this episode worth keeping? A pure function over a finished log: every fault it finds has a name, a figure and its limit.

Pictures are not decoded: a stream of them carries fingerprints (`picture_stream`). Times are the robot's clock, in ns; a stamp is
when something was measured or taken, an arrival when it was recorded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.clock import NS_PER_S
from robot_stack.config.collect import QualitySettings
from robot_stack.data.findings import Finding
from robot_stack.data.log_reader import VERDICT_TOPIC, EpisodeLog, RawMessage
from robot_stack.data.picture_stream import fingerprint_of
from robot_stack.data.rosbags_messages import deserialize_cdr
from robot_stack.data.wire import stamp_ns
from robot_stack.data.wire_scalars import JOINT_STATE
from robot_stack.robot import RobotSpec
from robot_stack.types import ARMED, Array

STATES, COMMANDS = "/joint_states", "/arm/command"
Times = NDArray[np.int64]


@dataclass
class Track:
    """What one topic said: (n,) stamps and arrivals, and of each message what a check needs of it."""

    stamps: list[int] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Taken:
    """One episode as the checks see it: tracks by topic, and the span in which the arm was armed, to the end of the log.

    `armed_ns`: first and last tick in an armed mode, None: there was none; `end_ns`: the last arrival.
    """

    tracks: dict[str, Track]
    armed_ns: tuple[int, int] | None
    end_ns: int
    drops: int
    complete: bool
    robot: RobotSpec | None

    def rows(self, topic: str) -> tuple[Times, Array, Array]:
        """Stamps (n,), positions and velocities (n, J) on `topic` while the arm was armed."""
        track, (begin, end) = self.tracks.get(topic, Track()), self.armed_ns or (0, 0)
        times = np.array(track.stamps, dtype=np.int64)
        inside = (times >= begin) & (times <= end)
        values = np.array(track.values, dtype=np.float64).reshape(len(times), 2, -1)[inside]
        return times[inside], values[:, 0], values[:, 1]

    def joint(self, index: int) -> str:
        """Its name, as far as it is known."""
        return self.robot.joint_names[index] if self.robot is not None else f"joint {index}"


def check(log: EpisodeLog, limits: QualitySettings, robot: RobotSpec | None = None) -> list[Finding]:
    """Everything about `log` that is outside `limits`; nothing: the episode is good.

    `robot`: without it rates, missing cameras and joint limits are not known. Raises DataError on a damaged log.
    """
    taken = _taken(log, robot)
    return [finding for look in CHECKS for finding in look(taken, limits)]


def _taken(log: EpisodeLog, robot: RobotSpec | None) -> Taken:
    tracks: dict[str, Track] = {}
    armed: list[int] = []
    end_ns = 0
    for raw in log.stored():
        end_ns = max(end_ns, raw.t_ns)
        if not (raw.topic in (STATES, COMMANDS, VERDICT_TOPIC) or raw.topic.endswith("/image")):
            continue
        message = deserialize_cdr(raw.data, raw.typename)
        track = tracks.setdefault(raw.topic, Track())
        track.stamps.append(stamp_ns(message))
        track.arrivals.append(raw.t_ns)
        if raw.topic == VERDICT_TOPIC:
            if _mode(message) in _ARMED:
                armed.append(track.stamps[-1])
        else:
            track.values.append(_value(raw, message))
    states = tracks.get(STATES, Track()).stamps
    ticked = armed if VERDICT_TOPIC in tracks else states
    span = (ticked[0], ticked[-1]) if ticked else None
    return Taken(tracks, span, end_ns, sum(log.summary.drops.values()), log.complete, robot)


_ARMED = {f'"{mode.value}"' for mode in ARMED}


def _mode(verdict: Any) -> str:
    """As JSON: a tick is not decoded for it."""
    return next((str(pair.value) for pair in verdict.status[0].values if pair.key == "mode"), "")


def _value(raw: RawMessage, message: Any) -> Any:
    if raw.typename != JOINT_STATE:
        return fingerprint_of(message)
    return np.stack([np.asarray(message.position), np.asarray(message.velocity)])


def _length(taken: Taken, limits: QualitySettings) -> Iterator[Finding]:
    """Cut, nothing armed, too short, messages lost."""
    if not taken.complete:
        yield Finding("cut", "log", 1, 0, "the recorder did not close the log; what it had not yet written is lost")
    begin, end = taken.armed_ns or (0, 0)
    seconds = (end - begin) / NS_PER_S
    if seconds < limits.least_s:
        said = f"armed for {seconds:.2f} s, allowed {limits.least_s:g} or more"
        yield Finding("too short", "log", seconds, limits.least_s, said)
    if taken.drops > limits.drops:
        said = f"{taken.drops} messages were dropped while recording, allowed {limits.drops}"
        yield Finding("drops", "log", taken.drops, limits.drops, said)


def _cameras(taken: Taken, limits: QualitySettings) -> Iterator[Finding]:
    """Rate, gaps, frozen pictures, skew: from the moment the arm was armed to the end of the log."""
    rates = {camera.name: camera.rate_hz for camera in taken.robot.cameras} if taken.robot is not None else {}
    seen = [topic[1:-6] for topic in taken.tracks if topic.endswith("/image")]
    for name in dict.fromkeys([*rates, *seen]):
        track = taken.tracks.get(f"/{name}/image", Track())
        begin = taken.armed_ns[0] if taken.armed_ns is not None else min(track.arrivals, default=taken.end_ns)
        times = np.array([t for t in track.stamps if t >= begin], dtype=np.int64)
        yield from _rate(name, times, begin, taken.end_ns, rates.get(name, 0.0) * limits.rate_share)
        yield from _gap(name, times, begin, taken.end_ns, limits.gap_s)
        yield from _frozen(name, track, limits.frozen)
        yield from _skew(name, track, taken.tracks.get(STATES, Track()), limits.skew_s)


def _rate(name: str, times: Times, begin: int, end: int, least_hz: float) -> Iterator[Finding]:
    rate = len(times) * NS_PER_S / max(end - begin, 1)
    if rate < least_hz:
        said = f"camera {name}: {rate:.1f} pictures a second, allowed {least_hz:.1f} or more"
        yield Finding("camera rate", name, rate, least_hz, said)


def _gap(name: str, times: Times, begin: int, end: int, most_s: float) -> Iterator[Finding]:
    edges = np.concatenate([[begin], np.sort(times), [max(end, begin)]])
    longest = int(np.argmax(np.diff(edges)))
    gap = float(np.diff(edges)[longest]) / NS_PER_S
    if gap > most_s:
        at = (edges[longest] - begin) / NS_PER_S
        said = f"camera {name}: no picture for {gap:.2f} s from {at:.2f} s on, allowed {most_s:g} s"
        yield Finding("camera gap", name, gap, most_s, said)


def _frozen(name: str, track: Track, most: int) -> Iterator[Finding]:
    longest = run = 1
    for last, this in zip(track.values, track.values[1:], strict=False):
        run = run + 1 if this == last else 1
        longest = max(longest, run)
    if longest >= most:
        said = f"camera {name}: {longest} pictures in a row are the same, allowed {most - 1}"
        yield Finding("frozen", name, longest, most - 1, said)


def _skew(name: str, track: Track, joints: Track, most_s: float) -> Iterator[Finding]:
    """When a picture arrives: how far it is from the newest joints that have."""
    newest = np.searchsorted(joints.arrivals, track.arrivals, side="right") - 1
    known = newest >= 0
    if not known.any():
        return
    away = np.abs(np.array(joints.stamps)[newest[known]] - np.array(track.stamps)[known]) / NS_PER_S
    skew = float(np.percentile(away, 95))
    if skew > most_s:
        said = f"camera {name}: pictures are {skew:.3f} s away from the joints when they arrive, allowed {most_s:g} s"
        yield Finding("skew", name, skew, most_s, said)


def _motion(taken: Taken, limits: QualitySettings) -> Iterator[Finding]:
    _, q, _ = taken.rows(STATES)
    if len(q) < 2:
        return
    moved = float(np.ptp(q, axis=0).max())
    if moved < limits.still:
        said = f"no joint moved more than {moved:.4f} rad (m), allowed {limits.still:g} or more"
        yield Finding("no motion", "joints", moved, limits.still, said)


def _tracking(taken: Taken, limits: QualitySettings) -> Iterator[Finding]:
    """How far a joint is outside what it was commanded in the last `tracking_s`: following late is no error."""
    times, q, _ = taken.rows(STATES)
    due, wish, _ = taken.rows(COMMANDS)
    if len(times) < 2 or len(due) < 2:
        return
    width = min(max(round(limits.tracking_s * NS_PER_S / float(np.median(np.diff(due)))), 1), len(due))
    windows = np.lib.stride_tricks.sliding_window_view(wish, width, axis=0)
    at = np.searchsorted(due, times, side="right") - width
    judged = at >= 0
    if not judged.any():
        return
    low, high = windows.min(axis=-1)[at[judged]], windows.max(axis=-1)[at[judged]]
    errors = np.percentile(np.maximum(np.maximum(low - q[judged], q[judged] - high), 0.0), 99, axis=0)
    worst = int(np.argmax(errors))
    if errors[worst] > limits.tracking:
        name, error = taken.joint(worst), float(errors[worst])
        said = f"{name}: {error:.3f} rad (m) away from its command, allowed {limits.tracking:g}"
        yield Finding("tracking", name, error, limits.tracking, said)


def _saturation(taken: Taken, limits: QualitySettings) -> Iterator[Finding]:
    """Commands at a limit of position or speed: the human asked for more than there is."""
    _, wish, speed = taken.rows(COMMANDS)
    robot = taken.robot
    if robot is None or not len(wish) or wish.shape[1] != len(robot.joints):
        return
    margin = limits.limit_margin * (robot.q_max - robot.q_min)
    at_limit = (wish < robot.q_min + margin) | (wish > robot.q_max - margin) | (np.abs(speed) >= 0.999 * robot.qd_max)
    shares = at_limit.mean(axis=0)
    shares[[i for i, name in enumerate(robot.joint_names) if name in limits.free_joints]] = 0.0
    worst = int(np.argmax(shares))
    if shares[worst] > limits.limit_share:
        name, share = taken.joint(worst), float(shares[worst])
        said = f"{name}: at a limit of position or speed {100 * share:.0f} % of the time, allowed {100 * limits.limit_share:g} %"
        yield Finding("saturation", name, share, limits.limit_share, said)


def _time(taken: Taken, limits: QualitySettings) -> Iterator[Finding]:
    """Stamps of a topic only grow; so does the time at which the log took them."""
    for topic, track in taken.tracks.items():
        steps = np.diff(np.array(track.stamps, dtype=np.int64))
        back = np.diff(np.array(track.arrivals, dtype=np.int64)) < 0
        bad = int((steps <= 0).sum() + back.sum())
        if bad:
            said = (
                f"{topic}: {int((steps == 0).sum())} stamps twice, {int((steps < 0).sum() + back.sum())} going back, allowed none"
            )
            yield Finding("time", topic, bad, 0, said)


CHECKS: tuple[Callable[[Taken, QualitySettings], Iterator[Finding]], ...] = (
    _length,
    _cameras,
    _motion,
    _tracking,
    _saturation,
    _time,
)
