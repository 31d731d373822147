"""How far recorded commands, played open loop in the simulator, lead from what was recorded; and what identification makes of it.

`resim_adroit`: the human demonstrations of AdroitHandDoor in today's MuJoCo, rms over joints and time of each, begun where the
first observation shows the hand, against begun in the recorded state. `growth`: the median over demonstrations of the rms over
joints, at shares of their length. `resim_arm`: logs of a simulated arm whose drives are not as modelled, divergence of those
held out with the drives that were identified, against the modelled ones. `resim_live`: the same for logs of the graph in real
time, where the only difference is the time a command takes.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result
from drivers.dynamics import Change, Part
from drivers.scenario import SCENARIOS
from robot_stack.build import load_robot
from robot_stack.clock import seconds
from robot_stack.data.log_reader import read_log
from robot_stack.data.robomimic import read_demonstrations
from robot_stack.learn import log_folders
from robot_stack.replay.crew import Setup, recording, teleoperated
from robot_stack.replay.lockstep import Episode, Rates
from robot_stack.replay.resim import arm, gymnasium
from robot_stack.replay.resim.divergence import Divergence, divergence
from robot_stack.replay.resim.identify import Identified, Simulate, Unknown, changes_of, drive_unknowns, identify

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", ROOT.parent / "shared")) / "data" / "adroit_door"
LIVE = ROOT / "runs" / "demo" / "cache"
SHARES = tuple(i / 10 for i in range(11))
NOISE_RAD = 5e-4
TRUTH = {
    "delay": 0.018,
    "gain.arm": 0.7,
    "damping.arm": 1.4,
    "friction.arm": 2.0,
    "gain.wrist": 1.3,
    "damping.wrist": 0.8,
    "friction.wrist": 0.8,
}
LEAD_S = 0.01


def main(arguments: Sequence[str]) -> list[Result]:
    """`arguments`: a folder of live logs (without: those `make demo` recorded). What there is no data for is left out."""
    live = Path(arguments[0]) if arguments else LIVE
    logs = [log for log in map(read_log, log_folders(live)) if "label" not in log.metadata.settings] if live.is_dir() else []
    results = [_arm()]
    results += [_live([arm.arm_recording(log) for log in logs])] if len(logs) > 1 else []
    results += [_adroit()] if SHARED.is_dir() else []
    return results


def _adroit() -> Result:
    file = read_demonstrations(SHARED)
    with closing(gymnasium.world_of(file)) as world:
        layout = gymnasium.layout_of(file.environment, world, file)
        seen = [gymnasium.started_as_seen(one, world, layout) for one in file.demonstrations]
        starts = {"seen": seen, "recorded": list(file.demonstrations)}
        dt_s = seconds(world.dt_ns)
        found = {
            start: [
                divergence(gymnasium.recorded_motion(one, layout, dt_s), gymnasium.resimulate(one, world, layout)) for one in some
            ]
            for start, some in starts.items()
        }
    rms = {start: [one.rms for one in some] for start, some in found.items()}
    extra = {start: _outcome(some) for start, some in found.items()}
    return Result("resim_adroit", "rad", rms["seen"], {"begun in the recorded state": rms["recorded"]}, extra)


def _outcome(found: Sequence[Divergence]) -> dict[str, Any]:
    there, here = ([bool(getattr(one, side).success) for one in found] for side in ("recorded", "simulated"))
    doors = [[getattr(one, side).reached["door_hinge"] for one in found] for side in ("recorded", "simulated")]
    names = found[0].recorded.joint_names
    return {
        "demonstrations": len(found),
        "success_recorded": sum(there),
        "success_resimulated": sum(here),
        "still_succeed": sum(a and b for a, b in zip(there, here, strict=True)),
        "open_beyond_1_rad": [sum(angle > 1.0 for angle in side) for side in doors],
        "door_gap_rad": _spread([abs(a - b) for a, b in zip(*doors, strict=True)]),
        "growth_rad": dict(zip((f"{s:.0%}" for s in SHARES), np.median([o.at(SHARES) for o in found], 0).tolist(), strict=True)),
        "joints_rad": {name: float(np.median([one.by_joint()[name] for one in found])) for name in names},
        "places_worst_m": {name: _spread([float(one.places[name].max()) for one in found]) for name in found[0].places},
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"p50": float(np.median(values)), "p95": float(np.percentile(values, 95)), "max": float(max(values))}


def _arm() -> Result:
    """Three lock-step logs; the robot that made them has other drives and noisy sensors."""
    setup = Setup(load_robot("sim_arm"), monitor=None, rates=Rates(camera_hz=5.0))
    with tempfile.TemporaryDirectory() as folder:
        recordings = [_recorded(Path(folder) / str(seed), setup, seed) for seed in range(3)]
    unknowns = _unknowns(setup.spec.joint_names)
    truth = changes_of(unknowns, [TRUTH[unknown.name] for unknown in unknowns])
    made = [_as_made_by(one, truth, k) for k, one in enumerate(recordings)]
    found = identify(unknowns, _simulator(made, 0.0), [0, 1], [2], evaluations=12)
    return _result("resim_arm", found, {"truth": TRUTH, "sensor_noise_rad": NOISE_RAD})


def _recorded(path: Path, setup: Setup, seed: int) -> arm.ArmRecording:
    with recording(path, setup, "nominal", {"seed": seed}) as sink:
        Episode(teleoperated(setup, seed), SCENARIOS["nominal"], seed, sink).run(8.0)
    return arm.arm_recording(read_log(path))


def _as_made_by(one: arm.ArmRecording, drives: Sequence[Change], k: int) -> arm.ArmRecording:
    with closing(arm.world_of(one, drives)) as world:
        motion = arm.resimulate_arm(one, world)
    noise = np.random.default_rng(k).normal(0.0, NOISE_RAD, motion.q.shape)
    return replace(one, motion=replace(motion, q=motion.q + noise))


def _live(recordings: Sequence[arm.ArmRecording]) -> Result:
    unknown = Unknown(Part.DELAY, -LEAD_S, 0.05, 0.0)
    last = len(recordings) - 1
    found = identify([unknown], _simulator(recordings, LEAD_S), range(last), [last], evaluations=12)
    return _result("resim_live", found, {"logs": len(recordings)})


def _unknowns(joints: tuple[str, ...]) -> tuple[Unknown, ...]:
    return drive_unknowns({"arm": joints[:3], "wrist": joints[3:6]}, {"arm": 6.0, "wrist": 3.0}, 0.05)


def _simulator(recordings: Sequence[arm.ArmRecording], lead_s: float) -> Simulate:
    world = arm.world_of(recordings[0])

    def simulate(k: int, changes: Sequence[Change]) -> Divergence:
        world.change([*changes, Change(Part.DELAY, lead_s)])
        return divergence(recordings[k].motion, arm.resimulate_arm(recordings[k], world, lead_s))

    return simulate


def _result(name: str, found: Identified, extra: dict[str, Any]) -> Result:
    values = {
        unknown.name: {"value": float(value), "sigma": float(sigma)}
        for unknown, value, sigma in zip(found.unknowns, found.values, found.sigma, strict=True)
    }
    extra |= {"found": values, "train_rad": [found.train_before, found.train_after], "evaluations": found.evaluations}
    return Result(name, "rad", [found.test_after], {"before identification": [found.test_before]}, extra)
