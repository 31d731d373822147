"""Any Gymnasium environment as a world in lock-step: it moves when stepped, starts from a given state, says what it sees.

With MuJoCo underneath (`env.unwrapped.model`) its drives can be changed as in `drivers.dynamics`, and a state can be set; any
environment starts from a seed. An action is held until the next one; the time limit of the environment is left out.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np

from drivers.dynamics import Change, DelayLine, ModelDynamics
from drivers.robosuite_env import RobosuiteEnv
from robot_stack.clock import NS_PER_S, nanoseconds
from robot_stack.errors import ConfigError, DriverError
from robot_stack.types import Array, Image, lock


class GymWorld:
    """A World. `plugin`: the package that registers the environment ("": Gymnasium itself), or "robosuite", whose tasks come
    without pictures. Use it from one thread only."""

    def __init__(self, environment: str, plugin: str = "", render: bool = False, **options: Any) -> None:
        self._env: Any = (
            RobosuiteEnv(environment, **options) if plugin == "robosuite" else _made(environment, plugin, render, options)
        )
        self.name, self._t_ns = environment, 0
        self._model = getattr(self._env, "model", None)
        self._dynamics = None if self._model is None else ModelDynamics(self._model)
        self._delay = 0.0
        self.reset(0)

    @property
    def t_ns(self) -> int:
        """Now, nanoseconds; never runs backwards, over resets neither."""
        return self._t_ns

    @property
    def dt_ns(self) -> int:
        """The period of one action, nanoseconds. Raises DriverError when the environment does not say."""
        dt_s = getattr(self._env, "dt", None)
        if dt_s is None:
            raise DriverError(f"environment {self.name}: found no `dt`, allowed one that says how long a step is (s)")
        return nanoseconds(float(dt_s))

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Every joint of one number, in the order of MuJoCo's qpos. Raises DriverError where there is no MuJoCo underneath."""
        model = self._mujoco()
        return tuple(model.joint(i).name for i in range(model.njnt) if model.jnt_type[i] >= 2)

    @property
    def columns(self) -> dict[str, int]:
        """How many columns of what is shown each named part of it has, in order; {} where the environment names none."""
        return dict(getattr(self._env, "columns", {}))

    @property
    def drives(self) -> tuple[str, ...]:
        """The joints that have a drive, in the order of the drives. Raises DriverError where there is no MuJoCo underneath."""
        self._mujoco()
        return self._dynamics.joint_names if self._dynamics else ()

    def reset(self, seed: int) -> None:
        """Back to a start drawn from `seed`."""
        observation, _ = self._env.reset(seed=seed)
        self._begin(observation, False)

    def start(self, state: Mapping[str, Array], model: str = "") -> None:
        """Begin in `state`: what the environment's `set_env_state` takes, or qpos and qvel, or the `seed` of a start.

        `model`: the MJCF it was recorded in, for environments that draw one (robosuite). Raises DriverError otherwise.
        """
        if set(state) == {"seed"}:
            self.reset(int(state["seed"]))
            return
        if not isinstance(self._env, RobosuiteEnv):  # its model would be another one after a reset
            self._env.reset(seed=0)
        try:
            if hasattr(self._env, "set_env_state"):
                self._env.set_env_state(dict(state), *([model] if model else []))
            else:
                self._env.set_state(state["qpos"], state["qvel"])
            seen = self._env._get_obs()
        except (AttributeError, KeyError, AssertionError, ValueError) as error:
            raise DriverError(
                f"environment {self.name}: found a state of {sorted(state)} that it does not take: {error}"
            ) from error
        self._begin(seen, False)

    def _begin(self, observation: Any, success: bool) -> None:
        self._observation, self._success = np.asarray(observation, dtype=float).ravel(), success
        space = self._env.action_space
        self._action: Array = np.zeros(space.shape)
        self._line: DelayLine | None = None

    def act(self, action: Array) -> None:
        """The action from now on. Raises DriverError when it is non-finite or of the wrong shape; the environment clips it."""
        shape = self._env.action_space.shape
        if np.shape(action) != shape or not np.isfinite(action).all():
            raise DriverError(f"environment {self.name}: found an action of shape {np.shape(action)}, allowed finite {shape}")
        self._action = np.asarray(action, dtype=float)
        if self._line is None:
            self._line = DelayLine(self._delay, self._action)

    def advance(self, dt_ns: int) -> None:
        """Let `dt_ns` pass: a whole number of actions. Raises ConfigError when it is not."""
        steps, rest = divmod(dt_ns, self.dt_ns)
        if rest or steps < 0:
            raise ConfigError(f"advance: found dt_ns={dt_ns}, allowed a multiple >= 0 of the action's period, {self.dt_ns} ns")
        for _ in range(steps):
            arrives = self._action if self._line is None else self._line.through(self._action)
            observation, _, _, _, info = self._env.step(arrives)
            self._observation = np.asarray(observation, dtype=float).ravel()
            self._success = self._success or bool(info.get("success", info.get("is_success", False)))
        self._t_ns += dt_ns

    @property
    def observation(self) -> Array:
        """What the environment shows now, (O,)."""
        return lock(self._observation, (None,), "observation")

    @property
    def success(self) -> bool:
        """The environment has said success since the start."""
        return self._success

    def state(self) -> dict[str, Array]:
        """The simulator's state now, as `start` takes it. Raises DriverError where there is no MuJoCo underneath."""
        if hasattr(self._env, "get_env_state"):
            return {name: np.array(value) for name, value in self._env.get_env_state().items()}
        self._mujoco()
        return {"qpos": self._env.data.qpos.copy(), "qvel": self._env.data.qvel.copy()}

    def change(self, changes: Sequence[Change]) -> None:
        """From the next start on drives are as modelled but for `changes`. Raises ConfigError; DriverError without MuJoCo."""
        if changes:
            self._mujoco()
        if self._dynamics is not None:
            self._delay = self._dynamics.change(changes) * NS_PER_S / self.dt_ns

    def render(self) -> Image:
        """A picture uint8 (H, W, 3); only of a world made with `render`. Raises DriverError."""
        picture = self._env.render()
        if picture is None:
            raise DriverError(f"environment {self.name}: no picture; make the world with render=True")
        return np.asarray(picture, dtype=np.uint8)

    def close(self) -> None:
        """Release the environment; closing twice is allowed."""
        self._env.close()

    def _mujoco(self) -> Any:
        if self._model is None:
            raise DriverError(f"environment {self.name}: there is no MuJoCo model underneath that drives could be changed in")
        return self._model


def _made(environment: str, plugin: str, render: bool, options: Mapping[str, Any]) -> Any:
    import gymnasium

    if plugin:
        gymnasium.register_envs(importlib.import_module(plugin))
    mode: Any = {"render_mode": "rgb_array"} if render else {}
    try:
        return gymnasium.make(environment, disable_env_checker=True, **mode, **options).unwrapped
    except gymnasium.error.Error as error:
        raise ConfigError(f"environment: found {environment!r}: {error}") from error
