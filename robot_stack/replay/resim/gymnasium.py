"""Re-simulation of demonstrations recorded in a Gymnasium environment: the actions, open loop, from the recorded start.

Both sides are read the same way, from what the environment shows (`Layout`), so that any environment serves whose observation
is a vector with joints or places in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from drivers.gym_world import GymWorld
from robot_stack.clock import seconds
from robot_stack.data.robomimic import Demonstration, DemonstrationFile
from robot_stack.errors import DataError
from robot_stack.replay.resim.divergence import Motion
from robot_stack.replay.resim.trust import Track
from robot_stack.types import Array

ROBOSUITE = "1"
"""robomimic's number of robosuite among the types of environments."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in the observations `keys` of the demonstrations, side by side: columns of joints, first of three columns
    of places.

    `goal`: column -> the value it must reach at some time (both empty: the environment alone tells success). `settable`: joints
    are called as in the simulator, so that a start can be put where it was seen.
    """

    keys: tuple[str, ...]
    joints: Mapping[str, int]
    places: Mapping[str, int]
    goal: str = ""
    goal_value: float = 0.0
    settable: bool = False

    def seen(self, demonstration: Demonstration) -> Array:
        """What was shown before each action (n, O). Raises DataError when the demonstration does not have it."""
        if missing := [key for key in self.keys if key not in demonstration.observations]:
            found = sorted(demonstration.observations)
            raise DataError(f"{demonstration.name}: found observations {found}, allowed those with {', '.join(missing)}")
        shown = [np.asarray(demonstration.observations[key], dtype=float).reshape(len(demonstration), -1) for key in self.keys]
        return np.concatenate(shown, axis=1)


def layout_of(environment: str, world: GymWorld, demonstrations: DemonstrationFile) -> Layout:
    """How the environment's observation is read: AdroitHandDoor and robosuite by joints and places, any other by columns."""
    if environment.startswith("AdroitHandDoor"):
        hand = {name: i for i, name in enumerate(world.joint_names[1:-2])}
        door = {"latch": 27, "door_hinge": 28}
        return Layout(("state",), hand | door, {"palm": 29, "handle": 32}, "door_hinge", 1.35, settable=True)
    if demonstrations.env_type == ROBOSUITE:
        columns = world.columns
        ends = dict(zip(columns, np.cumsum([0, *columns.values()]).tolist(), strict=False))
        joints = {f"joint {i + 1}": i for i in range(columns["robot0_joint_pos"])}
        return Layout(tuple(columns), joints, {"hand": ends["robot0_eef_pos"], "object": ends["object"]})
    first = demonstrations.demonstrations[0].observations
    key = max(first, key=lambda name: first[name].size)
    return Layout((key,), {f"observation {i}": i for i in range(first[key].shape[1])}, {})


def world_of(demonstrations: DemonstrationFile, render: bool = False) -> GymWorld:
    """The world the demonstrations were recorded in, as today's packages have it. Raises ConfigError when there is none."""
    plugin = "gymnasium_robotics" if "robotics" in demonstrations.env_type else ""
    plugin = "robosuite" if demonstrations.env_type == ROBOSUITE else plugin
    return GymWorld(demonstrations.environment, plugin, render, **demonstrations.options)


def recorded_motion(demonstration: Demonstration, layout: Layout, dt_s: float) -> Motion:
    """What the demonstration shows: row i is what was seen before action i. Raises DataError when it has no such observation."""
    return _motion(demonstration.name, layout.seen(demonstration), layout, dt_s, None)


def resimulate(demonstration: Demonstration, world: GymWorld, layout: Layout, rows: int | None = None) -> Motion:
    """Play the first `rows` (None: all) recorded actions in `world` from the recorded state of the simulator."""
    world.start(demonstration.initial_state, demonstration.model)
    seen = []
    for action in demonstration.actions[:rows]:
        seen.append(world.observation)
        world.act(action)
        world.advance(world.dt_ns)
    return _motion(demonstration.name, np.array(seen), layout, seconds(world.dt_ns), world.success)


def track_of(demonstration: Demonstration, world: GymWorld, layout: Layout, motion: Motion) -> Track:
    """`motion` (the recorded one, or a re-simulation) with the action of each joint's drive; 0 where it has none."""
    drives = {name: i for i, name in enumerate(world.drives)}
    actions = np.column_stack([demonstration.actions, np.zeros(len(demonstration))])[: len(motion.q)]
    return Track(motion.q, np.clip(actions[:, [drives.get(name, -1) for name in layout.joints]], -1.0, 1.0))


def started_as_seen(demonstration: Demonstration, world: GymWorld, layout: Layout) -> Demonstration:
    """The demonstration with the start that its first observation shows, for recordings whose state is not what was seen.

    Joints that are seen are put where they were seen. Those that are not (Adroit's ARTz) are moved until the first place is
    where it was seen, p(q) = p(q_0) + J (q - q_0), by least squares. Speeds stay as recorded. Where the layout is not `settable`
    the recorded start remains.
    """
    if not layout.settable:
        return demonstration
    seen = layout.seen(demonstration)
    state = {name: value.copy() for name, value in demonstration.initial_state.items()}
    names = world.joint_names
    for name, column in layout.joints.items():
        state["qpos"][names.index(name)] = seen[0, column]
    hidden = [i for i, name in enumerate(names) if name not in layout.joints]
    if hidden and layout.places:
        _place_hidden(state, hidden, world, next(iter(layout.places.values())), seen[0])
    return replace(demonstration, initial_state=state)


def _place_hidden(state: dict[str, Array], hidden: list[int], world: GymWorld, column: int, seen: Array) -> None:
    here = _place_at(state, world, column)
    step, columns = 1e-3, []
    for joint in hidden:
        moved = {name: value.copy() for name, value in state.items()}
        moved["qpos"][joint] += step
        columns.append((_place_at(moved, world, column) - here) / step)
    solved = np.linalg.lstsq(np.array(columns).T, seen[column : column + 3] - here, rcond=1e-6)[0]
    state["qpos"][hidden] += solved


def _place_at(state: dict[str, Array], world: GymWorld, column: int) -> Array:
    world.start(state)
    return np.array(world.observation[column : column + 3])


def _motion(name: str, seen: Array, layout: Layout, dt_s: float, success: bool | None) -> Motion:
    reached: dict[str, float] = {}
    if layout.goal:
        reached[layout.goal] = float(seen[:, layout.joints[layout.goal]].max())
        success = reached[layout.goal] >= layout.goal_value if success is None else success
    return Motion(
        name=name,
        t_s=np.asarray(np.arange(len(seen)) * dt_s, dtype=np.float64),
        joint_names=tuple(layout.joints),
        q=seen[:, list(layout.joints.values())],
        places={place: seen[:, column : column + 3] for place, column in layout.places.items()},
        success=success,
        reached=reached,
    )
