"""How the drives of a simulated robot may differ from its model: what system identification looks for and suites perturb.

A drive of joint j gives ``tau = kp (q* - q) + kv (qd* - qd)`` and its joint resists with ``b qd + f sign(qd)``:

* GAIN scales kp, DAMPING scales kv and b, ARMATURE the rotor's inertia as the joint sees it, MASS the mass and the inertia of
  the joint's body (factors, 1: as modelled);
* FRICTION f (N m; N) is added to the dry friction, DELAY (s) to the way of a command to all drives.
"""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np

from robot_stack.errors import ConfigError
from robot_stack.types import Array


class Part(Enum):
    """What is changed. FRICTION and DELAY are added, the others multiply."""

    GAIN = "gain"
    DAMPING = "damping"
    ARMATURE = "armature"
    MASS = "mass"
    FRICTION = "friction"
    DELAY = "delay"


@dataclass(frozen=True, slots=True)
class Change:
    """`part` of `joints` (names; (): all that have a drive) by `amount`: a factor, N m (N) or s."""

    part: Part
    amount: float
    joints: tuple[str, ...] = ()


class ModelDynamics:
    """The drives of a MuJoCo model, which `change` sets anew each time: changes never add up."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._drives: dict[str, list[int]] = {}
        for i in range(model.nu):
            if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT:
                self._drives.setdefault(model.joint(model.actuator_trnid[i, 0]).name, []).append(i)
        arrays = ("actuator_gainprm", "actuator_biasprm", "dof_damping", "dof_armature", "dof_frictionloss")
        self._modelled = {name: getattr(model, name).copy() for name in (*arrays, "body_mass", "body_inertia")}

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The joints that have a drive, in the order of the drives."""
        return tuple(self._drives)

    def change(self, changes: Sequence[Change]) -> float:
        """Make the model as it was built, then apply `changes`; returns the delay (s) of commands. Raises ConfigError."""
        for name, values in self._modelled.items():
            getattr(self._model, name)[:] = values
        for one in changes:
            for joint in one.joints or self._drives:
                self._apply(one, joint)
        mujoco.mj_setConst(self._model, mujoco.MjData(self._model))
        delay_s = sum(one.amount for one in changes if one.part is Part.DELAY)
        if not 0.0 <= delay_s < 10.0:
            raise ConfigError(f"dynamics: found a delay of {delay_s} s, allowed 0 s to 10 s")
        return delay_s

    def _apply(self, change: Change, joint: str) -> None:
        if joint not in self._drives:
            raise ConfigError(f"dynamics: found joint {joint!r}, allowed those with a drive: {', '.join(self._drives)}")
        model, dof = self._model, self._model.joint(joint).dofadr[0]
        match change.part:
            case Part.GAIN:
                self._scale_servo(joint, 1, change.amount)
            case Part.DAMPING:
                self._scale_servo(joint, 2, change.amount)
                model.dof_damping[dof] *= change.amount
            case Part.ARMATURE:
                model.dof_armature[dof] *= change.amount
            case Part.MASS:
                body = model.dof_bodyid[dof]
                model.body_mass[body] *= change.amount
                model.body_inertia[body] *= change.amount
            case Part.FRICTION:
                model.dof_frictionloss[dof] += change.amount
            case Part.DELAY:
                pass

    def _scale_servo(self, joint: str, order: int, factor: float) -> None:
        """The feedback on q (`order` 1) or qd (2), and the gain on the command where that is what the servo follows."""
        for i in self._drives[joint]:
            bias = self._model.actuator_biasprm[i]
            follows = 1 if bias[1] else 2
            if bias[order]:
                bias[order] *= factor
                if follows == order:
                    self._model.actuator_gainprm[i, 0] *= factor


class DelayLine:
    """Commands on their way. Between two steps they are mixed in proportion, so that what comes out is continuous in the delay.

    `delay` is in steps of whoever calls `through` once a step.
    """

    def __init__(self, delay: float, start: Array) -> None:
        self._whole, self._part = int(delay), delay - int(delay)
        self._way = deque([start.copy()] * (self._whole + 2), maxlen=self._whole + 2)

    def through(self, command: Array) -> Array:
        """What arrives in this step, while `command` sets out."""
        self._way.append(command.copy())
        newer = np.asarray(self._way[1])
        return newer if not self._part else (1.0 - self._part) * newer + self._part * np.asarray(self._way[0])
