"""Everything the boat's table needs learned, each kept under `runs/boat` by the hash of what it was made from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks.boat.bc import ClonedPolicy, safe_trajectories, train_bc
from benchmarks.boat.ccbf import CcbfSettings, train_ccbf
from benchmarks.boat.dataset import H_MAX, decisions, free_rows
from benchmarks.boat.fisor import FisorPolicy, FisorSettings, train_fisor
from benchmarks.boat.network import FitSettings, NumpyNetwork, TanhBarrier, save
from drivers.boat import Boat, BoatLog, collect
from robot_stack.config.schema import VocbfSettings
from robot_stack.demo.cache import stage
from robot_stack.types import Array
from safety.avoid_value import GridBarrier, avoid_value, directions
from safety.dynamics_model import DynamicsModel, DynamicsSettings, train_dynamics
from safety.reachability import StateGrid
from safety.vocbf import FittedBarrier, fit_barrier

T = TypeVar("T")
CODE = ("drivers/boat.py", "safety/hindsight.py", "benchmarks/boat/dataset.py", "benchmarks/boat/network.py")
RESULT = "result.safetensors"
FOUND = VocbfSettings(
    width=128, expectile=0.97, discount=0.99, lr=2e-3, batch=512, steps=6000, warm_share=0.15, near=0.35, h_max=H_MAX
)


@dataclass(frozen=True)
class BoatStudy:
    """What is learned from: `transitions` rows of one log, the crew deciding every `hold` steps. `vocbf` is what the table is
    about, `as_published` the paper's own settings (a row a step, expectile 0.9, 0.99 a step) for as many gradient steps."""

    transitions: int = 1_000_000
    hold: int = 10
    seed: int = 0
    vocbf: VocbfSettings = FOUND
    as_published: VocbfSettings = replace(FOUND, expectile=0.9)
    dynamics: DynamicsSettings = DynamicsSettings()
    cloning: FitSettings = FitSettings()
    fisor: FisorSettings = FisorSettings()
    ccbf: CcbfSettings = CcbfSettings()
    grid_spacing: float = 0.02
    grid_step: float = 0.04
    grid_controls: int = 32


class Lessons:
    """The log, the exact value and every learner's result, made when first asked for."""

    def __init__(self, study: BoatStudy, root: Path, boat: Boat | None = None) -> None:
        self.study, self.boat, self._root = study, boat or Boat(), root

    @cached_property
    def log(self) -> BoatLog:
        """The log all learn from."""
        return collect(self.boat, self.study.transitions, self.study.seed, self.study.hold)

    @cached_property
    def exact(self) -> GridBarrier:
        """V of the true plant on the grid."""
        study, boat = self.study, self.boat
        grid = StateGrid.over(boat.low, boat.high, study.grid_spacing)

        def step(states: Any, u: Any) -> Any:
            return np.clip(states + study.grid_step * (boat.fields(states)[0] + u), boat.low, boat.high)

        def write(file: Path) -> None:
            save_file({"V": avoid_value(grid, boat.margin(grid.nodes), step, directions(study.grid_controls))}, str(file))

        inputs = (study.grid_spacing, study.grid_step, study.grid_controls)
        code = ("safety/avoid_value.py", "safety/reachability.py")
        return self._kept("exact", inputs, code, write, lambda file: GridBarrier(grid, load_file(str(file))["V"]))

    @cached_property
    def model(self) -> DynamicsModel:
        """f and g, at the true dt."""
        log, boat = self.log, self.boat
        free = free_rows(log, boat.low, boat.high)
        rows = (log.states[free], log.actions[free], log.next_states[free])

        def write(file: Path) -> None:
            train_dynamics(*rows, boat.dt, self.study.dynamics, self.study.seed).save(file)

        return self._kept("dynamics", self.study.dynamics, ("safety/dynamics_model.py",), write, DynamicsModel.load)

    @cached_property
    def critics(self) -> FittedBarrier:
        """Q and V of the table's V-OCBF."""
        return self.fit_vocbf(self.study.vocbf, self.study.hold, self.study.seed)

    @cached_property
    def vocbf(self) -> TanhBarrier:
        """The barrier of the table."""
        return TanhBarrier.of(self.critics.arrays)

    @cached_property
    def as_published(self) -> TanhBarrier:
        """The same, one row a step."""
        return TanhBarrier.of(self.fit_vocbf(self.study.as_published, 1, self.study.seed).arrays)

    def fit_vocbf(self, settings: VocbfSettings, hold: int, seed: int) -> FittedBarrier:
        """V-OCBF on rows `hold` steps apart."""

        def write(file: Path) -> None:
            fit_barrier(decisions(self.log, hold)[0], settings, seed).save(file)

        code = ("safety/vocbf.py", "safety/barrier.py")
        return self._kept("vocbf", (settings, hold, seed), code, write, FittedBarrier.load)

    @cached_property
    def bc(self) -> ClonedPolicy:
        """The mean of all crews."""
        data, _ = decisions(self.log, self.study.hold)
        return self._cloned("bc", data.states, data.actions)

    @cached_property
    def bc_safe(self) -> ClonedPolicy:
        """The mean of the trajectories without an accident."""
        data, _ = decisions(self.log, self.study.hold)
        safe = np.isin(data.motion, np.unique(self.log.trajectory[safe_trajectories(self.log)]))
        return self._cloned("bc_safe", data.states[safe], data.actions[safe])

    def _cloned(self, name: str, states: Array, actions: Array) -> ClonedPolicy:
        def write(file: Path) -> None:
            save(file, train_bc(states, actions, self.study.cloning, self.study.seed).net.layers)

        code = ("benchmarks/boat/bc.py",)
        return self._kept(name, self.study.cloning, code, write, lambda file: ClonedPolicy(NumpyNetwork.load(file)))

    @cached_property
    def fisor(self) -> FisorPolicy:
        """Cloned where the critics of V-OCBF allow."""
        data, reward = decisions(self.log, self.study.hold)
        settings = self.study.fisor

        def write(file: Path) -> None:
            save(file, train_fisor(data, reward, self.critics, settings, self.study.seed).net.layers)

        def read(file: Path) -> FisorPolicy:
            return FisorPolicy(NumpyNetwork.load(file), self.critics, settings.parts, settings.candidates)

        return self._kept("fisor", (settings, self.study.vocbf), ("benchmarks/boat/fisor.py", "safety/vocbf.py"), write, read)

    @cached_property
    def ccbf(self) -> TanhBarrier:
        """The barrier by inequalities."""

        def write(file: Path) -> None:
            found = train_ccbf(self.log, self.model, self.boat.dt, self.study.ccbf, self.study.seed)
            save(file, found.layers, mean=found.mean, std=1.0 / found.scale)

        inputs, code = (self.study.ccbf, self.study.dynamics), ("benchmarks/boat/ccbf.py", "safety/dynamics_model.py")
        return self._kept("ccbf", inputs, code, write, lambda file: TanhBarrier.of(load_file(str(file))))

    def _kept(
        self, name: str, inputs: object, code: tuple[str, ...], write: Callable[[Path], None], read: Callable[[Path], T]
    ) -> T:
        """What `read` finds in the file that `write` makes where there is none from the same `inputs` and `code`."""
        begin = time.process_time()
        study = (self.study.transitions, self.study.hold, self.study.seed)
        self._root.mkdir(parents=True, exist_ok=True)
        made = stage(self._root, name, [study, vars(self.boat), inputs], (*CODE, *code), lambda folder: write(folder / RESULT))
        print(f"== {name}: {f'{time.process_time() - begin:.0f} s of processor' if made.fresh else 'kept'}", flush=True)
        return read(made.folder / RESULT)
