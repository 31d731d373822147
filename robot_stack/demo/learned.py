"""Everything the demo collects and learns, each as a stage kept under the hash of what it was made from."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from robot_stack.build import load_robot
from robot_stack.config.commands import DemoCommand
from robot_stack.demo import live
from robot_stack.demo.cache import stage
from robot_stack.demo.collect import close_calls, collect, plan
from robot_stack.demo.train import Cell, export, learn_barrier, learn_monitor, learn_policy
from robot_stack.replay.crew import Setup
from robot_stack.replay.lockstep import Rates

CORE = ("robot_stack", "robot_stack/data", "drivers", "safety", "robot_stack/demo/train.py")
LOCKSTEP = ("robot_stack/replay/lockstep.py", "robot_stack/replay/crew.py", "robot_stack/demo/collect.py")


@dataclass(frozen=True, slots=True)
class Learned:
    """Where it all lies."""

    demonstrations: Path
    barrier: Path
    policy: Path
    bundle: Path
    monitor: Path


def setup_of(command: DemoCommand, rates: Rates) -> Setup:
    """The robot in its cell, protected as `command` says, for lock-step runs at `rates`."""
    spec = load_robot(command.robot)
    return Setup(spec, command.task, command.safety, command.monitor, command.detector, rates, command.robot)


class School:
    """Makes the stages of one demo, in order; each says how long it took, or that it was kept."""

    def __init__(self, command: DemoCommand) -> None:
        self._command = command
        self._cell = Cell(load_robot(command.robot), command.task)

    def learn(self) -> Learned:
        """Every stage, made or kept. The policy and what guards it are learned at the same time, in two processes."""
        recorded = self._stage("demonstrations", self._setup(), LOCKSTEP, self._collect)
        live_ones = self._stage("live", [self._command.run, str(recorded)], ("robot_stack/nodes",), self._demonstrate)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as beside:
            guards = beside.submit(_learn_guards, self._command, recorded)
            policy, bundle = self._policy_and_bundle((live_ones, recorded / "demonstrations"))
            barrier, monitor = guards.result()
        return Learned(
            demonstrations=recorded,
            barrier=barrier / "barrier.safetensors",
            policy=policy / "checkpoint",
            bundle=bundle / "bundle",
            monitor=monitor / "monitor",
        )

    def guards(self, recorded: Path) -> tuple[Path, Path]:
        """The barrier, and the monitor whose labels it gives."""
        motions = (recorded / "demonstrations", recorded / "close_calls")
        barrier = self._stage("barrier", [str(recorded), self._command.vocbf], (), lambda out: self._barrier(motions, out))
        inputs = [str(barrier), self._command.monitor]
        return barrier, self._stage("monitor", inputs, (), lambda out: self._monitor(motions, barrier, out))

    def _policy_and_bundle(self, lessons: tuple[Path, ...]) -> tuple[Path, Path]:
        command, code = self._command, ("policies",)
        inputs = [[str(folder) for folder in lessons], command.policy, command.train]
        policy = self._stage("policy", inputs, code, lambda out: self._policy(lessons, out))
        return policy, self._stage("bundle", [str(policy), command.taco], code, lambda out: self._bundle(lessons, policy, out))

    def _stage(self, name: str, inputs: object, code: tuple[str, ...], make: Callable[[Path], object]) -> Path:
        begin = time.monotonic()
        made = stage(Path(self._command.demo.root) / "cache", name, inputs, (*CORE, *code), make)
        print(f"== {name}: {f'{time.monotonic() - begin:.0f} s' if made.fresh else 'kept'}, {made.folder}", flush=True)
        return made.folder.resolve()

    def _setup(self) -> tuple[Setup, object]:
        demo = self._command.demo
        return setup_of(self._command, Rates(camera_hz=demo.camera_hz, monitor_hz=demo.camera_hz)), demo

    def _collect(self, out: Path) -> None:
        setup, demo = self._setup()[0], self._command.demo
        outcomes = collect(plan(setup, demo, out / "demonstrations"), demo.processes)
        print(f"   {sum(o.success for o in outcomes)} of {len(outcomes)} demonstrations put the cube on the disc", flush=True)
        collect(close_calls(setup, demo, out / "close_calls"), demo.processes)

    def _demonstrate(self, out: Path) -> None:
        live.demonstrate(self._command, out)

    def _barrier(self, motions: tuple[Path, ...], out: Path) -> None:
        learn_barrier(self._cell, motions, self._command.vocbf, self._command.demo.seed, out / "barrier.safetensors")

    def _policy(self, lessons: tuple[Path, ...], out: Path) -> None:
        learn_policy(self._cell, lessons, self._command.policy, self._command.train, out / "checkpoint")

    def _bundle(self, lessons: tuple[Path, ...], policy: Path, out: Path) -> None:
        command = self._command
        export(self._cell, lessons, policy / "checkpoint", command.policy, command.taco, out / "bundle")

    def _monitor(self, motions: tuple[Path, ...], barrier: Path, out: Path) -> None:
        file = barrier / "barrier.safetensors"
        learn_monitor(self._cell, motions, file, self._command.monitor, self._command.demo.seed, out / "monitor")


def _learn_guards(command: DemoCommand, recorded: Path) -> tuple[Path, Path]:
    return School(command).guards(recorded)
