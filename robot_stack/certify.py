"""`robot-stack certify`: how far an error of the observation may move the actions of a bundle, certified and attacked.

Three statements of different kind, never mixed in the table:

* certified: of the policy in noise (`safety.certify`), for every change up to r sigma, at a confidence;
* measured: the worst of some attacks of r sigma (`robot_stack.attack`); above what is certified, one of the two is wrong;
* estimated: the slope of the bare policy by its joints, from differences. No bound: between its candidates the policy jumps.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.attack import Answers, Attacker, Shift, Sigma, noisy, nothing, shifted
from robot_stack.config.commands import CertifyCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SmoothingSettings
from robot_stack.errors import ConfigError, PolicyError
from robot_stack.learn import load_episodes
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, Observation
from safety.certify import certified_probability, certify_median, mean_lipschitz

if TYPE_CHECKING:
    from policies.sensitivity import Sensitivity

SHARES = (0.25, 0.5, 1.0)
"""Radii of the table, in shares of `smoothing.radius`."""
STEP = 0.05
"""sigma: of the differences."""
PARITY_RAD = 1e-3


@dataclass(frozen=True)
class Damage:
    """What the worst attack did: `measured` rad the largest change of a median of the policy in noise, by `attack`; `held`: no
    action moved by more than was certified for it. `bare` rad: of the policy without noise, `switched`: another candidate won
    there. `kept`: the lowest share of noisy decisions within the tolerance of the bare one."""

    measured: float
    attack: str
    held: bool
    bare: float
    switched: bool
    kept: float


@dataclass(frozen=True)
class Spot:
    """One observation. `certified` rad at each radius of SHARES; `kept`: certified probability under attack that a noisy decision
    stays within the tolerance of the bare one. `moved` rad: what the noise itself changes. `slope`: rad per sigma of the joints,
    estimated."""

    episode: str
    t_s: float
    certified: tuple[float, ...]
    damage: Damage
    kept: float
    moved: float
    slope: float


def certify(command: CertifyCommand) -> str:
    """Certify, attack, write `out`/certificate.json; returns the table. Raises PolicyError, DataError or ConfigError."""
    robot = load_robot(command.robot)
    policy = OnnxPolicy(command.bundle, joint_names=robot.joint_names)
    settings = command.smoothing
    sigma = Sigma(settings.joints * np.array(policy.manifest.statistics["joint_std"]), settings.pixels)
    seen = _observations(command, policy)
    network = _network(command.checkpoint, policy, seen[0][1])
    attacker = Attacker(policy, sigma, settings.radius, network)
    spots = [
        certify_spot(attacker, settings, name, observation, i)
        for i, (name, observation) in enumerate(tqdm(seen, desc="certify", unit="observation"))
    ]
    figures = _figures(spots, settings) | _lipschitz(robot, sigma, network, seen)
    out = Path(command.out)
    out.mkdir(parents=True, exist_ok=True)
    content = {"command": asdict(command), "figures": figures, "observations": [asdict(spot) for spot in spots]}
    file = out / "certificate.json"
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return f"{table(figures, settings)}\nwritten: {file}"


def _observations(command: CertifyCommand, policy: OnnxPolicy) -> list[tuple[str, Observation]]:
    """Evenly spread over the last `holdout` episodes. Raises ConfigError, or DataError where there are none."""
    if command.holdout < 1:
        raise ConfigError(f"holdout: found {command.holdout}, allowed 1 or more: the certificate is about held-out observations")
    sizes = {size for _, size in policy.manifest.cameras}
    size = sizes.pop() if len(sizes) == 1 else None
    episodes = load_episodes(Path(command.dataset), policy.manifest.rate_hz, size, last=command.holdout)
    spots = [(episode, i) for episode in episodes for i in range(len(episode))]
    chosen = np.linspace(0, len(spots) - 1, min(command.smoothing.observations, len(spots))).round().astype(int)
    return [(spots[k][0].name, observation_at(*spots[k])) for k in chosen]


def _network(checkpoint: str, policy: OnnxPolicy, observation: Observation) -> "Sensitivity | None":
    """The checkpoint's network. Raises PolicyError unless it says what the bundle says."""
    if not checkpoint:
        return None
    from policies.sensitivity import Sensitivity

    network = Sensitivity(Path(checkpoint), policy.joint_names, policy.manifest.rows)
    candidate = policy.sample(observation).actions[0]
    error = float(np.abs(network.chunk(observation, policy.noise[0].astype(np.float64)) - candidate).max())
    if not error <= PARITY_RAD:
        raise PolicyError(
            f"checkpoint: found actions {error:.1e} rad from the bundle's, allowed {PARITY_RAD:.0e}: it is not the one the "
            "bundle was exported from; name that one, or leave checkpoint out"
        )
    return network


def certify_spot(attacker: Attacker, settings: SmoothingSettings, name: str, observation: Observation, index: int) -> Spot:
    """Certificate, attacks and slope at one observation."""
    policy, sigma = attacker.policy, attacker.sigma
    answers = noisy(policy, observation, sigma, settings.samples, (settings.seed, index, 0), nothing(sigma))
    certificates = [certify_median(answers.actions, share * settings.radius, settings.confidence) for share in SHARES]
    bare = policy.decide(observation).chunk.q
    k = _within(answers, bare, settings.tolerance)
    shifts = attacker.attacks(observation, answers, certificates[-1].change, np.random.default_rng([settings.seed, index, 2]))
    return Spot(
        episode=name,
        t_s=observation.t_ns * 1e-9,
        certified=tuple(float(one.change.max()) for one in certificates),
        damage=_damage(attacker, settings, observation, list(shifts), certificates[-1].change, index),
        kept=certified_probability(k, settings.samples, settings.radius, settings.confidence),
        moved=float(np.abs(certificates[0].median - bare.ravel()).max()),
        slope=_slope(policy, sigma, observation),
    )


def _damage(
    attacker: Attacker, settings: SmoothingSettings, observation: Observation, shifts: list[Shift], allowed: Array, index: int
) -> Damage:
    """The worst of `shifts`, on fresh noise that is the same before and after each of them; `allowed` (T * J,) is certified."""
    policy, sigma, count = attacker.policy, attacker.sigma, settings.attack_samples
    fresh, bare = (settings.seed, index, 1), policy.decide(observation)
    before = np.median(noisy(policy, observation, sigma, count, fresh, nothing(sigma)).actions, axis=0)
    after = [noisy(policy, observation, sigma, count, fresh, shift) for shift in shifts]
    moved = np.array([np.abs(np.median(answers.actions, axis=0) - before) for answers in after])
    changed = [policy.decide(shifted(observation, shift)) for shift in shifts]
    return Damage(
        measured=float(moved.max()),
        attack=shifts[int(moved.max(axis=1).argmax())].name,
        held=bool((moved <= allowed).all()),
        bare=max(float(np.abs(one.chunk.q - bare.chunk.q).max()) for one in changed),
        switched=any(one.winner != bare.winner for one in changed),
        kept=min(_within(answers, bare.chunk.q, settings.tolerance) for answers in after) / count,
    )


def _within(answers: Answers, chunk: Array, tolerance: float) -> int:
    """How many noisy decisions stay within `tolerance` rad of `chunk` everywhere."""
    return int((np.abs(answers.actions - chunk.ravel()).max(axis=1) <= tolerance).sum())


def _slope(policy: OnnxPolicy, sigma: Sigma, observation: Observation) -> float:
    """The largest slope of any action of the winning candidate, rad per sigma of the joints, by central differences."""
    winner = policy.decide(observation).winner
    columns = []
    for joint in range(len(sigma.q)):
        step = np.zeros_like(sigma.q)
        step[joint] = 1.0
        ahead, behind = (
            policy.sample(shifted(observation, sigma.shift("step", step, {}, way))).actions[winner] for way in (STEP, -STEP)
        )
        columns.append((ahead - behind).ravel() / (2.0 * STEP))
    return float(np.linalg.norm(np.array(columns), axis=0).max())


def _lipschitz(
    robot: RobotSpec, sigma: Sigma, network: "Sensitivity | None", seen: list[tuple[str, Observation]]
) -> dict[str, float]:
    span = np.array([joint.q_max - joint.q_min for joint in robot.joints])
    found = {"mean_bound": float(mean_lipschitz(span).max())}
    if network is not None:
        found["condition_bound"] = network.condition_bound(sigma.q)
        found["condition_measured"] = max(network.condition_slope(observation, sigma.q) for _, observation in seen)
    return found


def _figures(spots: list[Spot], settings: SmoothingSettings) -> dict[str, float]:
    """What the table says, over all observations."""
    certified = np.array([spot.certified for spot in spots])
    found: dict[str, float] = {"observations": len(spots)}
    for i, share in enumerate(SHARES):
        found |= _spread(f"certified_{share * settings.radius:g}", certified[:, i])
    damage = [spot.damage for spot in spots]
    measured = np.array([one.measured for one in damage])
    found |= _spread("measured", measured) | _spread("bare", np.array([one.bare for one in damage]))
    found |= _spread("moved", np.array([spot.moved for spot in spots])) | _spread("slope", np.array([s.slope for s in spots]))
    ratio = certified[:, -1] / np.maximum(measured, 1e-12)
    found |= {"ratio_min": float(ratio.min()), "ratio_p50": float(np.median(ratio)), "ratio_max": float(ratio.max())}
    found |= {"held": float(np.mean([one.held for one in damage])), "switched": float(np.mean([one.switched for one in damage]))}
    return found | {"kept_min": min(s.kept for s in spots), "kept_measured_min": min(one.kept for one in damage)}


def _spread(name: str, values: Array) -> dict[str, float]:
    return {f"{name}_p50": float(np.median(values)), f"{name}_max": float(values.max())}


def table(figures: dict[str, float], settings: SmoothingSettings) -> str:
    """The figures for a terminal. rad stands for m at a prismatic joint."""
    f, r, share, confidence = figures, settings.radius, settings.joints, settings.confidence
    rows = [(f"certified, median of the policy in noise, up to {s * r:g} sigma", f"certified_{s * r:g}") for s in SHARES]
    rows += [
        (f"measured, the same under attacks of {r:g} sigma", "measured"),
        ("measured, policy without noise (no bound)", "bare"),
    ]
    rows += [
        ("cost: what the noise changes by itself", "moved"),
        ("estimate: slope by the joints, per sigma (no bound)", "slope"),
    ]
    lines = [
        f"{f['observations']:.0f} held-out observations, {settings.samples} noisy decisions each; confidence {confidence:g}",
        f"1 sigma: {share:g} std of each joint in the data, {settings.pixels:g} grey levels of each value of a picture",
        f"{'largest change of any action of the chunk (rad)':<66}{'p50':>9}{'max':>9}",
        *(f"{said:<66}{f[f'{key}_p50']:>9.4f}{f[f'{key}_max']:>9.4f}" for said, key in rows),
        f"certified / measured: smallest {f['ratio_min']:.2f}, median {f['ratio_p50']:.2f}, largest {f['ratio_max']:.2f}",
        f"certificate held at {100 * f['held']:.0f} % of the observations",
        f"without noise an attack made another candidate win at {100 * f['switched']:.0f} % of them",
        f"a noisy decision within {settings.tolerance:g} rad of the bare one, under attack, at the worst observation: certified "
        f"P >= {f['kept_min']:.3f}, measured {f['kept_measured_min']:.3f}",
        f"Lipschitz bound of the noisy mean, clipped to the joint limits: {f['mean_bound']:.2f} rad per sigma, everywhere",
    ]
    if "condition_bound" in f:
        ratio = f["condition_bound"] / f["condition_measured"]
        lines.append(
            f"Lipschitz bound from joints to condition: {f['condition_bound']:.3f} per sigma, largest slope found "
            f"{f['condition_measured']:.3f} (ratio {ratio:.2f})"
        )
    return "\n".join(lines)
