"""The simulated arm without pictures: demonstrations and policies that see joints and where things are. Seconds instead of hours.

Physics, control loop and scripted human are those of lock-step runs; one picture an episode is rendered, for the detector. A
policy is a small network from the state to a chunk of 16 rows at 20 Hz, by plain behaviour cloning; it decides at 10 Hz.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from drivers.scenario import SCENARIOS
from drivers.scripted import ScriptedTeleoperator
from drivers.sim_world import SimWorld
from policies.recorded import chunks
from robot_stack.clock import NS_PER_S
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings, TacoSettings
from robot_stack.data.episode import Episode
from robot_stack.kinematics import Kinematics
from robot_stack.replay import lockstep
from robot_stack.replay.crew import Setup, teleoperated
from robot_stack.replay.lockstep import Crew, Outcome, Rates
from robot_stack.types import ActionChunk, Array, Choice, Mode, Observation, Step
from safety.taco import CoinFlipNetwork, train_cfn

SPEC = load_robot("sim_arm")
KINEMATICS = Kinematics(SPEC)
RATE_HZ, ROWS, EVERY = 20.0, 16, 5
"""Rows a second of a demonstration, rows of a chunk, and ticks of the control loop a row."""
SETUP = Setup(
    SPEC,
    safety=SafetySettings(use_filter=False, hazards_stale_s=3600.0, policy_silent_s=3600.0),
    monitor=None,
    rates=Rates(camera_hz=0.01, monitor_hz=5.0, policy_hz=10.0),
)
LIMIT_S = 9.0
"""Twice what the scripted human takes."""


def state_of(q: Array, places: Array) -> Array:
    """(n, 20) of joints (n, 7) and places (n, 6) of cube and disc: joints, places, and both seen from the tip."""
    tip = KINEMATICS.positions(q)[:, -1]
    return np.hstack(
        [q, places[:, :3] - tip, places[:, 3:] - tip, tip, places[:, :3] - places[:, 3:], (places[:, 2:3] > 0.03) * 1.0]
    )


@cache
def _world() -> SimWorld:
    """One for all episodes: to open its camera takes longer than to play one."""
    return SimWorld(replace(SPEC, cameras=SPEC.cameras[:1]), SETUP.task)


def human_crew(setup: Setup, seed: int) -> Crew:
    """The scripted human moves the arm."""
    world = _world()
    crew = teleoperated(setup, seed)
    human = ScriptedTeleoperator(SPEC, world.truth, world.joints, seed, clumsy=False)
    return replace(crew, world=world, teleoperator=human)


def _places(world: SimWorld) -> Array:
    truth = world.truth()
    return np.concatenate([truth.cube_p, truth.goal_p])


class Lesson:
    """A sink of a lock-step run: keeps joints, commands and `places` (n, 6) at RATE_HZ while the arm is in `mode`."""

    def __init__(self, world: SimWorld, mode: Mode) -> None:
        self._world, self._mode, self._ticks = world, mode, 0
        self._rows: list[tuple[Array, Array, Array]] = []

    def __call__(self, topic: str, t_ns: int, value: object) -> None:
        """Take what is published."""
        if isinstance(value, Step) and value.verdict.mode is self._mode and value.inputs.joints is not None:
            if self._ticks % EVERY == 0:
                self._rows.append((value.inputs.joints.q, value.verdict.command.q, _places(self._world)))
            self._ticks += 1

    def episode(self, name: str) -> Episode | None:
        """What was kept; None: nothing."""
        if not self._rows:
            return None
        q, action, places = (np.array(part) for part in zip(*self._rows, strict=True))
        return Episode(name, RATE_HZ, SPEC.joint_names, q, action, {}, columns={"places": places})


def demonstrate(seed: int) -> Episode | None:
    """The scripted human from the start `seed`; None when it failed."""
    crew = human_crew(SETUP, seed)
    lesson = Lesson(crew.world, Mode.TELEOP)
    outcome = lockstep.Episode(crew, SCENARIOS["nominal"], seed, lesson).run()
    return lesson.episode(f"seed_{seed}") if outcome.success else None


class StatePolicy(nn.Module):
    """State (N, S) to the chunk relative to the joints (N, 16, 7)."""

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, inputs: int, width: int = 128) -> None:
        super().__init__()
        joints = len(SPEC.joints)
        self.net = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, ROWS * joints),
        )  # fmt: skip
        for name, value in (("mean", torch.zeros(inputs)), ("std", torch.ones(inputs)), ("scale", torch.ones(joints))):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Standardised chunks (N, 16, J)."""
        out: Tensor = self.net((x - self.mean) / self.std)
        return out.reshape(len(x), ROWS, -1)

    def seen(self, states: Array) -> Tensor:
        """Standardised states (n, S): the features familiarity is counted in."""
        return (torch.tensor(states, dtype=torch.float32) - self.mean) / self.std

    @torch.no_grad()
    def chunk(self, q: Array, places: Array) -> Array:
        """(16, 7) rad of joints (7,) and places (6,)."""
        delta = self(torch.tensor(state_of(q[None], places[None]), dtype=torch.float32))[0] * self.scale
        return np.asarray(q + delta.double().numpy())


def clone(episodes: Sequence[Episode], seed: int, steps: int = 1500, batch: int = 128, noise: float = 0.02) -> StatePolicy:
    """Behaviour cloning of `episodes`: squared error of chunks, states with `noise` of their standard deviation."""
    torch.manual_seed(seed)
    x = torch.tensor(np.concatenate([state_of(e.q, e.columns["places"]) for e in episodes]), dtype=torch.float32)
    target = torch.tensor(np.concatenate([chunks(e, ROWS, RATE_HZ) - e.q[:, None] for e in episodes]), dtype=torch.float32)
    policy = StatePolicy(x.shape[1])
    policy.mean.copy_(x.mean(0))
    policy.std.copy_(x.std(0).clamp_min(1e-4))
    policy.scale.copy_(target.reshape(-1, target.shape[-1]).std(0).clamp_min(1e-4))
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        pick = torch.randint(len(x), (batch,))
        seen = x[pick] + noise * policy.std * torch.randn(batch, x.shape[1])
        loss = (policy(seen) - target[pick] / policy.scale).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return policy.eval()


@dataclass(frozen=True)
class Sighted:
    """A Policy: a StatePolicy that is told where things are in `world`; `selector` counts how familiar its state is."""

    policy: StatePolicy
    world: SimWorld
    selector: CoinFlipNetwork | None = None
    joint_names: tuple[str, ...] = SPEC.joint_names
    cameras: tuple[str, ...] = ()

    def decide(self, observation: Observation) -> Choice:
        """One candidate."""
        q, places = observation.joints.q, _places(self.world)
        rows = self.policy.chunk(q, places)
        chunk = ActionChunk(observation.t_ns, observation.joints.t_ns, round(NS_PER_S / RATE_HZ), rows, "state_policy")
        return Choice(chunk, 0, None if self.selector is None else self._counts(q, places))

    @torch.no_grad()
    def _counts(self, q: Array, places: Array) -> Array:
        assert self.selector is not None
        return np.asarray(self.selector(self.policy.seen(state_of(q[None], places[None]))).double().numpy())


def familiarity(policy: StatePolicy, episodes: Sequence[Episode], seed: int) -> CoinFlipNetwork:
    """The selector of `policy`: pseudo-counts of the states in `episodes`."""
    states = np.concatenate([state_of(e.q, e.columns["places"]) for e in episodes])
    return train_cfn(policy.seen(states).double().numpy(), TacoSettings(), seed)


def crew_of(
    policy: StatePolicy, setup: Setup, seed: int, selector: CoinFlipNetwork | None = None, take_over_s: float = 1e9
) -> Crew:
    """`policy` on the arm; the scripted human takes over from it `take_over_s` after arming."""
    crew = human_crew(setup, seed)
    return replace(crew, policy=Sighted(policy, crew.world, selector), take_over_s=take_over_s)


def perform(policy: StatePolicy, seed: int) -> Outcome:
    """One episode of `policy` from the start `seed`."""
    return lockstep.Episode(crew_of(policy, SETUP, seed), SCENARIOS["nominal"], seed).run(LIMIT_S)
