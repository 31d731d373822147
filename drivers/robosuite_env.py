"""A robosuite task as the Gymnasium environment that `GymWorld` takes, for one robot: no pictures, no time limit.

robosuite's own wrapper shows no place and takes no state. This one shows `KEYS`, named as in robomimic's files, and begins in the
flattened state of MuJoCo that those files hold, in the model they hold: object sizes are drawn with the model.
Each start compiles a model anew, so that drives cannot be changed as `drivers.dynamics` does.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from robot_stack.errors import ConfigError
from robot_stack.types import Array

KEYS = {
    "robot0_joint_pos": "robot0_joint_pos",
    "robot0_gripper_qpos": "robot0_gripper_qpos",
    "robot0_eef_pos": "robot0_eef_pos",
    "object": "object-state",
}
"""Observation of a robomimic file -> of robosuite, in the order in which they are shown."""
_FIXED = {"has_renderer": False, "has_offscreen_renderer": False, "use_camera_obs": False, "ignore_done": True}


class RobosuiteEnv:
    """One task ("Lift", ...). `options` as `robosuite.make` takes them ("env_kwargs" of a robomimic file); pictures are left out.

    Raises ConfigError when there is no such task.
    """

    def __init__(self, task: str, **options: Any) -> None:
        import robosuite

        if task not in robosuite.ALL_ENVIRONMENTS:
            raise ConfigError(f"environment: found {task!r}, allowed {', '.join(sorted(robosuite.ALL_ENVIRONMENTS))}")
        kept = {name: value for name, value in options.items() if not name.startswith(("camera_", "render_"))}
        self._env: Any = robosuite.make(task, **({"robots": "Panda"} | kept | _FIXED))
        shape = self._env.action_spec[0].shape
        self.unwrapped, self.action_space, self.dt = self, SimpleNamespace(shape=shape), float(self._env.control_timestep)

    def reset(self, seed: int) -> tuple[Array, dict[str, Any]]:
        """A start drawn from `seed`: what is shown, (O,)."""
        self._env.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        self._env.reset()
        return self._get_obs(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One action, as Gymnasium has it; `success` in the last value."""
        _, reward, _, _ = self._env.step(action)
        return self._get_obs(), float(reward), False, False, {"success": bool(self._env._check_success())}

    def set_env_state(self, state: Mapping[str, Array], model: str = "") -> None:
        """Begin in `state["states"]`, MuJoCo's flattened state; in the MJCF `model` ("": that of the last start).

        robosuite's own playback leaves its controllers at the pose before; here they begin anew from the state.
        """
        self._env.reset_from_xml_string(self._env.edit_model_xml(model or self.mjcf))
        self._env.sim.reset()
        self._env.sim.set_state_from_flattened(np.asarray(state["states"]))
        self._env.sim.forward()
        for robot in self._env.robots:
            for part in robot.composite_controller.part_controllers.values():
                part.update(force=True)
                if hasattr(part, "update_initial_joints"):
                    part.update_initial_joints(part.joint_pos)
                part.reset_goal()

    def get_env_state(self) -> dict[str, Array]:
        """The flattened state of MuJoCo, as `set_env_state` takes it."""
        return {"states": np.array(self._env.sim.get_state().flatten())}

    @property
    def mjcf(self) -> str:
        """The model of this start, as a robomimic file holds it."""
        return str(self._env.sim.model.get_xml())

    @property
    def columns(self) -> dict[str, int]:
        """How many columns of what is shown each of `KEYS` has."""
        shown = self._env._get_observations()
        return {key: np.size(shown[name]) for key, name in KEYS.items()}

    def _get_obs(self) -> Array:
        shown = self._env._get_observations(force_update=True)
        return np.concatenate([np.ravel(shown[name]) for name in KEYS.values()]).astype(np.float64)

    def close(self) -> None:
        """Release it; closing twice is allowed."""
        self._env.close()
