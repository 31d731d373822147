"""The simulated cell in lock-step: MuJoCo physics, two rendered cameras, a task, a movable obstacle, faults on demand."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np

from drivers.clearance import sphere_clearance
from drivers.dynamics import Change, DelayLine, ModelDynamics
from drivers.faults import ArmFaults, CameraFaults, Fault
from drivers.mjcf import TIMESTEP_NS, build_mjcf
from drivers.refusal import check_command
from robot_stack.clock import NS_PER_S, nanoseconds
from robot_stack.config.schema import TaskSettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import CameraSpec, RobotSpec
from robot_stack.types import Array, CameraFrame, Image, JointCommand, JointState, lock

_RELEASED_M = 0.006
_FOLLOWING_MAX = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is really so: places (3,) m in the world. For scoring, the scripted human and scenario scripts only; never a node."""

    t_ns: int
    cube_p: Array
    decoy_p: Array
    goal_p: Array
    obstacle_p: Array
    obstacle_radius: float
    clearance: float
    success: bool
    tip_p: Array

    def __post_init__(self) -> None:
        for name in ("cube_p", "decoy_p", "goal_p", "obstacle_p", "tip_p"):
            object.__setattr__(self, name, lock(getattr(self, name), (3,), f"Truth.{name}"))


class SimWorld:
    """A World. Time starts at `t_ns` and never runs backwards, over resets neither. Use it from one thread only."""

    def __init__(self, spec: RobotSpec, task: TaskSettings, t_ns: int = 0, changes: Sequence[Change] = ()) -> None:
        self.spec, self.task = spec, task
        self.cameras = tuple(c.name for c in spec.cameras)
        self._model = mujoco.MjModel.from_xml_string(build_mjcf(spec, task))
        self._data = mujoco.MjData(self._model)
        self._kinematics = Kinematics(spec)
        self._eyes: dict[tuple[int, int], mujoco.Renderer] = {}
        joints = [self._model.joint(name) for name in spec.joint_names]
        self._qpos = np.array([j.qposadr[0] for j in joints])
        self._qvel = np.array([j.dofadr[0] for j in joints])
        self._mocap = {name: self._model.body(name).mocapid[0] for name in ("goal", "obstacle")}
        self._cube = {name: self._model.joint(name).qposadr[0] for name in ("cube", "decoy")}
        self._mirror = [(j, self._model.joint(f"{spec.joint_names[j]}_mirror").qposadr[0]) for j in self._grippers]
        self._dynamics, self._ctrl = ModelDynamics(self._model), np.zeros(self._model.nu)
        self._t_ns = t_ns
        self.change(changes)

    @property
    def t_ns(self) -> int:
        """Now, nanoseconds."""
        return self._t_ns

    @property
    def _grippers(self) -> list[int]:
        return [i for i, joint in enumerate(self.spec.joints) if joint.kind == "prismatic"]

    def reset(self, seed: int) -> None:
        """Back to a start drawn from `seed`: arm near home, cubes on one side, goal on the other, obstacle aside, no fault."""
        rng = np.random.default_rng(seed)
        self._noise = np.random.default_rng([seed, 7])
        self._faults = {name: CameraFaults() for name in self.cameras}
        self._arm_faults = ArmFaults()
        self._pictures: dict[str, tuple[int, CameraFrame]] = {}
        mujoco.mj_resetData(self._model, self._data)
        q = self._start(rng)
        self._data.qpos[self._qpos] = q
        for j, address in self._mirror:
            self._data.qpos[address] = q[j]
        self._place_objects(rng)
        self._obstacle_target, self._obstacle_step = self.obstacle_home, 0.0
        self._hold(q)
        self._data.ctrl[:] = self._ctrl
        self._line = DelayLine(self._delay, self._ctrl) if self._delay > 0.0 else None
        mujoco.mj_forward(self._model, self._data)

    def change(self, changes: Sequence[Change]) -> None:
        """Drives as modelled but for `changes`, and back to the start of seed 0. Raises ConfigError (a joint without a drive)."""
        self._delay = self._dynamics.change(changes) * NS_PER_S / TIMESTEP_NS
        self.reset(0)

    def paint_table(self, rgb: tuple[float, float, float]) -> None:
        """Give the table that colour (0..1), for good."""
        self._model.geom("table").rgba[:3] = rgb

    def _start(self, rng: np.random.Generator) -> Array:
        jitter = rng.uniform(-1.0, 1.0, len(self.spec.joints)) * self.task.home_jitter
        jitter[self._grippers] = 0.0
        return np.clip(np.array(self.spec.q_home) + jitter, self.spec.q_min, self.spec.q_max)

    def _place_objects(self, rng: np.random.Generator) -> None:
        task, half = self.task, self.task.cube_size / 2
        cube, decoy = _draw_apart(rng, task)
        for name, xy in (("cube", cube), ("decoy", decoy)):
            yaw = rng.uniform(-task.cube_yaw, task.cube_yaw)
            turn = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self._data.qpos[self._cube[name] : self._cube[name] + 7] = [*xy, half, *turn]
        self._data.mocap_pos[self._mocap["goal"]] = [*_draw(rng, task.goal_area), 0.001]
        self.obstacle_home: Array = np.array([*_draw(rng, task.obstacle_area), task.obstacle_height])
        self._data.mocap_pos[self._mocap["obstacle"]] = self.obstacle_home

    def advance(self, dt_ns: int) -> None:
        """Let `dt_ns` pass: a whole number of physics steps. Raises ConfigError when it is not."""
        steps, rest = divmod(dt_ns, TIMESTEP_NS)
        if rest or steps < 0:
            raise ConfigError(f"advance: found dt_ns={dt_ns}, allowed a multiple >= 0 of the physics step, {TIMESTEP_NS} ns")
        self._watch_commands()
        self._move_obstacle(dt_ns)
        self._step(steps)
        for joint, q in self._arm_faults.stuck.items():
            self._data.qpos[self._qpos[joint]], self._data.qvel[self._qvel[joint]] = q, 0.0
            mujoco.mj_forward(self._model, self._data)
        self._t_ns += dt_ns

    def _step(self, steps: int) -> None:
        if self._line is None:
            self._data.ctrl[:] = self._ctrl
            mujoco.mj_step(self._model, self._data, steps)
            return
        for _ in range(steps):
            self._data.ctrl[:] = self._line.through(self._ctrl)
            mujoco.mj_step(self._model, self._data)

    def skip(self, dt_ns: int) -> None:
        """Let the clock run on without physics: what a real-time world does with time the computer did not give it."""
        self._t_ns += max(dt_ns, 0)

    def send(self, command: JointCommand) -> None:
        """Give the drives `command`. Raises DriverError when it is non-finite or of the wrong length; never clamps.

        As real drives trip on a following error, these do not follow a command 0.3 rad (or m) or more from where they are.
        """
        check_command(command, self.spec.joint_names, f"arm {self.spec.name}")
        if self.bus_gone or np.abs(command.q - self._q()).max() >= _FOLLOWING_MAX:
            return
        self._ctrl[0::2] = command.q
        self._ctrl[1::2] = 0.0 if command.qd is None else command.qd
        self._commanded_ns: int | None = self._t_ns

    def _hold(self, q: Array) -> None:
        self._ctrl[0::2], self._ctrl[1::2] = q, 0.0
        self._commanded_ns = None

    def _watch_commands(self) -> None:
        """The drive's watchdog: no command for `command_silent_s`, so stand still where you are."""
        silent_ns = nanoseconds(self.task.command_silent_s)
        if self._commanded_ns is not None and self._t_ns - self._commanded_ns > silent_ns:
            self._hold(np.clip(self._q(), self.spec.q_min, self.spec.q_max))

    def _q(self) -> Array:
        return np.asarray(self._data.qpos[self._qpos])

    def joints(self) -> JointState:
        """The joint state now (J,), with the sensor noise of the moment; `tau` is the drives' force."""
        tau = self._data.qfrc_actuator[self._qvel]
        true = JointState(self._t_ns, self._q(), self._data.qvel[self._qvel], tau)
        return self._arm_faults.measured(true, self._noise)

    @property
    def bus_gone(self) -> bool:
        """Nothing is heard of the arm now."""
        return self._arm_faults.gone

    def render(self, camera: str) -> CameraFrame:
        """What `camera` hands over now. A camera that drops or delays frames hands over an older one. Raises ConfigError."""
        spec, faults = self.spec.camera(camera), self._faults[camera]
        if faults.needs_no_picture:
            return faults.repeat(self._t_ns)
        rgb = self._picture(spec)
        if faults.light != 1.0:
            rgb = (rgb * np.float32(faults.light)).astype(np.uint8)
        return faults.deliver(CameraFrame(camera, self._t_ns, _speckle(rgb, self.task.pixel_noise, self._noise)))

    def _picture(self, camera: CameraSpec) -> Image:
        size = (camera.height, camera.width)
        if size not in self._eyes:
            eye = mujoco.Renderer(self._model, *size)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                eye.scene.flags[flag] = False
            self._eyes[size] = eye
        self._eyes[size].update_scene(self._data, camera.name)
        picture: Image = self._eyes[size].render()
        return picture

    def truth(self) -> Truth:
        """Where everything really is."""
        obstacle = self._data.mocap_pos[self._mocap["obstacle"]].copy()
        cube, decoy = self._cube_p("cube"), self._cube_p("decoy")
        goal = self._data.mocap_pos[self._mocap["goal"]].copy()
        q = self._q()
        clearance = self.clearance(q, obstacle)
        tip = self._kinematics.tip(q)[0]
        return Truth(
            self._t_ns, cube, decoy, goal, obstacle, self.task.obstacle_radius, clearance, self._success(cube, goal, tip, q), tip
        )

    def _cube_p(self, name: str) -> Array:
        address = self._cube[name]
        return np.array(self._data.qpos[address : address + 3])

    def _success(self, cube: Array, goal: Array, tip: Array, q: Array) -> bool:
        """The yellow cube lies on the table, inside the disc, and no finger holds it."""
        there = bool(np.linalg.norm(cube[:2] - goal[:2]) <= self.task.goal_radius)
        lies = bool(cube[2] < 0.75 * self.task.cube_size)
        wide = all(q[j] > self.task.cube_size / 2 + _RELEASED_M for j in self._grippers)
        return there and lies and (wide or bool(np.linalg.norm(tip - cube) > 2 * self.task.cube_size))

    def clearance(self, q: Array, p_W: Array) -> float:
        """Smallest signed distance (m) between the arm's capsules at `q` (J,) and the obstacle's sphere at `p_W` (3,)."""
        return sphere_clearance(self._kinematics, q, p_W, self.task.obstacle_radius)

    def place_obstacle(self, p_W: Array) -> None:
        """Put the obstacle at `p_W` (3,) m at once, and leave it there."""
        self._obstacle_target, self._obstacle_step = np.array(p_W, dtype=float), 0.0
        self._data.mocap_pos[self._mocap["obstacle"]] = self._obstacle_target

    def send_obstacle(self, p_W: Array, speed: float) -> None:
        """Let the obstacle walk to `p_W` (3,) m at `speed` m/s from now on."""
        self._obstacle_target, self._obstacle_step = np.array(p_W, dtype=float), speed

    def _move_obstacle(self, dt_ns: int) -> None:
        if self._obstacle_step <= 0.0:
            return
        p = self._data.mocap_pos[self._mocap["obstacle"]]
        way = self._obstacle_target - p
        distance = float(np.linalg.norm(way))
        p += way * min(1.0, self._obstacle_step * dt_ns / NS_PER_S / max(distance, 1e-9))

    def apply(self, fault: Fault) -> None:
        """Begin `fault`; again is no change. Raises ConfigError for a camera or joint that is not there."""
        if fault.camera:
            self.spec.camera(fault.camera)
        for name in (fault.camera,) if fault.camera else self.cameras:
            self._faults[name].apply(fault)
        if fault.joint and fault.joint not in self.spec.joint_names:
            raise ConfigError(f"joint: found {fault.joint!r}, allowed {list(self.spec.joint_names)}")
        if not fault.camera:
            joint = self.spec.joint_names.index(fault.joint) if fault.joint else 0
            self._arm_faults.apply(fault, joint, self._q())

    def close(self) -> None:
        """Release the renderers; closing twice is allowed."""
        for eye in self._eyes.values():
            eye.close()
        self._eyes.clear()


def _draw(rng: np.random.Generator, area: tuple[float, float, float, float]) -> Array:
    return np.array([rng.uniform(*area[:2]), rng.uniform(*area[2:])])


def _draw_apart(rng: np.random.Generator, task: TaskSettings) -> tuple[Array, Array]:
    for _ in range(1000):
        cube, decoy = _draw(rng, task.cube_area), _draw(rng, task.cube_area)
        if np.linalg.norm(decoy - cube) >= task.decoy_distance:
            return cube, decoy
    raise ConfigError(
        f"task.decoy_distance: found {task.decoy_distance} m, which does not fit into task.cube_area {task.cube_area}; "
        "allowed less than its diagonal"
    )


def _speckle(rgb: Image, share: float, rng: np.random.Generator) -> Image:
    """Sensor noise: about `share` of all values moved by one or two, so that no two pictures of a live camera are equal."""
    flat = rgb.reshape(-1)
    at = rng.integers(0, flat.size, int(share * flat.size))
    step = rng.choice(np.array([-2, -1, 1, 2], dtype=np.int16), at.size)
    flat[at] = np.clip(flat[at] + step, 0, 255).astype(np.uint8)
    return rgb
