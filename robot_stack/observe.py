"""Put frames and joints together into an Observation, or say why that is impossible now.

A picture is some 30 to 60 ms old when it is looked at, joints are 5: of the joints heard lately, those measured when the newest
picture was taken are observed, as in training, where both are taken from the log at the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from robot_stack.types import CameraFrame, JointState, Observation


class Missing(Enum):
    """Why there is no observation."""

    CAMERA = "camera_missing"
    JOINTS = "joints_missing"
    STALE = "input_stale"
    SKEW = "inputs_skewed"


@dataclass(frozen=True, slots=True)
class ObserveLimits:
    """`age_ns`: the oldest an input may be; `skew_ns`: the most two inputs may differ in time."""

    age_ns: int = 200_000_000
    skew_ns: int = 80_000_000


def observe(
    frames: Mapping[str, CameraFrame],
    joints: Sequence[JointState],
    cameras: tuple[str, ...],
    now_ns: int,
    limits: ObserveLimits,
    instruction: str = "",
) -> tuple[Observation | None, Missing | None, str]:
    """The observation of `cameras` at `now_ns` with the one of `joints` (those heard lately, in any order) nearest to it in time.

    Else None, the kind of lack and a sentence that names the input.
    """
    for name in cameras:
        if name not in frames:
            return None, Missing.CAMERA, f"camera {name}: no frame yet, {sorted(frames)} are there; is its camera_node running?"
    if not joints:
        return None, Missing.JOINTS, "joints: no state yet; is arm_node running?"
    times = {name: frames[name].t_ns for name in cameras}
    taken_ns = max(times.values(), default=now_ns)
    state = min(joints, key=lambda joint_state: abs(joint_state.t_ns - taken_ns))
    times["joints"] = state.t_ns
    oldest = min(times, key=lambda name: times[name])
    newest = max(times, key=lambda name: times[name])
    if (age := now_ns - times[oldest]) > limits.age_ns:
        return None, Missing.STALE, f"{oldest}: {age / 1e6:.0f} ms old, allowed {limits.age_ns / 1e6:.0f} ms"
    if (skew := times[newest] - times[oldest]) > limits.skew_ns:
        return None, Missing.SKEW, f"{oldest} is {skew / 1e6:.0f} ms older than {newest}, allowed {limits.skew_ns / 1e6:.0f} ms"
    chosen = {name: frames[name] for name in cameras}
    return Observation(times[oldest], chosen, state, instruction), None, ""
