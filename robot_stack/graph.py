"""The ROS 2 graph as plain values: which process runs, which topic carries what and how it is delivered.

The one description: the supervisor starts it, `launch/*.launch.py` start it, recorder_node records its topics and
`robot_stack.nodes.qos` turns its deliveries into QoS profiles. It imports no ROS.

Several arms share a domain by namespaces: what a topic is called here, and in a log, stands below the namespace of its arm on
the wire (`within`). Only /diagnostics and /stop_all belong to all of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

PACKAGE = "robot_stack"
ARM_NODE = "arm_node"
POLICY_NODE = "policy_node"
RECORDER_NODE = "recorder_node"
TELEOP_NODE = "teleop_node"

JOINT_STATE = "sensor_msgs/msg/JointState"
JOINT_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
IMAGE = "sensor_msgs/msg/Image"
DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"
EMPTY = "std_msgs/msg/Empty"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its message type, which node publishes it, and how. `depth` is what a reader keeps that needs only the newest.

    `kept`: the publisher keeps the last messages for a recorder that finds it late (transient local). A reader that heard nothing
    for `stale_s` says so on /diagnostics (inf: it may fall silent). `shared`: the same topic in every namespace. `sealed`: nodes
    act on it, so they take only what carries a seal of this run (`robot_stack.seal`).
    """

    name: str
    type: str
    publisher: str
    reliable: bool
    depth: int
    record_depth: int
    why: str
    kept: bool = False
    stale_s: float = 1.0
    shared: bool = False
    sealed: bool = False

    def wire_name(self, namespace: str) -> str:
        """What DDS calls it for the arm in `namespace`."""
        return self.name if self.shared else within(namespace, self.name)


@dataclass(frozen=True, slots=True)
class Respawn:
    """A process that ended by itself is started again after `wait_s`, twice as long each time up to `most_s`, at most `tries`
    times in a row; one that ran for `well_s` begins a new row."""

    tries: int
    wait_s: float
    most_s: float
    well_s: float

    def wait(self, tried: int) -> float:
        """Seconds from its end to its next start, when it has been started again `tried` times in a row."""
        return float(min(self.wait_s * 2.0**tried, self.most_s))


@dataclass(frozen=True, slots=True)
class Process:
    """``python -m module arguments``; `node` is its ROS name ("" = not a ROS node) in `namespace`; `nice` > 0: it gives way to
    others; `respawn` None: once it has ended it stays dead."""

    name: str
    module: str
    node: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    nice: int = 0
    namespace: str = ""
    respawn: Respawn | None = None

    @property
    def kind(self) -> str:
        """What kind of node it is: `camera` for every camera_node."""
        return self.module.rpartition(".")[2].removesuffix("_node")

    def command(self, python: str) -> list[str]:
        """The command line that starts it with the interpreter `python`."""
        ros = [word for name, value in self.parameters for word in ("-p", f"{name}:={value}")]
        below = ["-r", f"__ns:=/{self.namespace}"] if self.namespace else []
        node = ["--ros-args", "-r", f"__node:={self.node}", *below, *ros] if self.node else []
        polite = ["nice", "-n", str(self.nice)] if self.nice else []
        return [*polite, python, "-m", self.module, *self.arguments, *node]


@dataclass(frozen=True, slots=True)
class GraphDescription:
    """Everything that runs: the world first, then the nodes, in the order in which they are started."""

    world: Process | None
    nodes: tuple[Process, ...]
    topics: tuple[Topic, ...] = field(default=())

    @property
    def processes(self) -> tuple[Process, ...]:
        """All of them, in that order."""
        return (*((self.world,) if self.world else ()), *self.nodes)

    def topic(self, name: str) -> Topic:
        """The topic called `name`; KeyError lists the ones there are."""
        for topic in self.topics:
            if topic.name == name:
                return topic
        raise KeyError(f"topic: found {name!r}, allowed {[t.name for t in self.topics]}")


def within(namespace: str, name: str) -> str:
    """The topic, service or node `name` ("/arm/verdict") as the wire knows it of the arm in `namespace` ("": the only one)."""
    inner, name = namespace.strip("/"), name.removeprefix("/")
    return f"/{inner}/{name}" if inner else f"/{name}"


def image_topic(camera: str) -> str:
    """Where the frames of `camera` go."""
    return f"/{camera}/image"


def camera_node(camera: str) -> str:
    """The ROS name of the node that serves `camera`."""
    return f"camera_node_{camera}"


JOINTS = Topic(
    "/joint_states",
    JOINT_STATE,
    ARM_NODE,
    True,
    1,
    200,
    "reliable: the log holds each tick; readers that decide keep the newest",
    stale_s=0.2,
    sealed=True,
)
COMMAND = Topic(
    "/arm/command", JOINT_STATE, ARM_NODE, True, 1, 200, "reliable: what the motors got must be in the log, one message a tick"
)
VERDICT = Topic("/arm/verdict", DIAGNOSTIC_ARRAY, ARM_NODE, True, 100, 200, "reliable and deep: replay needs every verdict")
POLICY_CHUNK = Topic(
    "/policy/chunk",
    JOINT_TRAJECTORY,
    POLICY_NODE,
    True,
    1,
    20,
    "reliable: few, each matters; only the newest may move the arm",
    kept=True,
    stale_s=math.inf,
    sealed=True,
)
TELEOP_CHUNK = Topic(
    "/teleop/chunk",
    JOINT_TRAJECTORY,
    TELEOP_NODE,
    True,
    1,
    20,
    "reliable: as for a policy, a human passes the same door",
    kept=True,
    stale_s=math.inf,
    sealed=True,
)
POLICY_CHOICE = Topic(
    "/policy/choice",
    JOINT_STATE,
    POLICY_NODE,
    True,
    1,
    20,
    "reliable: few and small, for the monitor and the log",
    stale_s=math.inf,
    sealed=True,
)
FALLBACK_COMMAND = Topic(
    "/fallback/command",
    JOINT_STATE,
    "fallback_node",
    False,
    1,
    200,
    "best effort: 10 ms later the next replaces a lost one",
    stale_s=0.2,
    sealed=True,
)
SCORE = Topic("/monitor/score", JOINT_STATE, "monitor_node", True, 1, 50, "reliable: an alarm may not be lost", sealed=True)
HAZARDS = Topic(
    "/monitor/hazards", JOINT_STATE, "monitor_node", True, 1, 50, "reliable: few and small, the filter needs each", sealed=True
)
DIAGNOSTICS = Topic(
    "/diagnostics",
    DIAGNOSTIC_ARRAY,
    "every node",
    True,
    1,
    50,
    "reliable: once a second, for people and aggregators",
    shared=True,
)
STOP_ALL = Topic(
    "/stop_all",
    EMPTY,
    "operator",
    True,
    1,
    1,
    "reliable: stops every arm of the domain; anyone may",
    stale_s=math.inf,
    shared=True,
)


def frames_topic(camera: str) -> Topic:
    """The image topic of `camera`."""
    why = "best effort, newest only: a frame sent again would arrive late, and late pixels are worse than none"
    return Topic(image_topic(camera), IMAGE, camera_node(camera), False, 1, 10, why, sealed=True)


def topics(cameras: Sequence[str]) -> tuple[Topic, ...]:
    """All topics of a robot with `cameras`."""
    fixed = (JOINTS, COMMAND, VERDICT, POLICY_CHUNK, TELEOP_CHUNK, POLICY_CHOICE, FALLBACK_COMMAND, SCORE, HAZARDS)
    return (*fixed, *(frames_topic(camera) for camera in cameras))


def node(name: str, module: str, config: str, nice: int = 0, **parameters: str) -> Process:
    """A node of ours, configured by the run file `config`."""
    return Process(name, f"{PACKAGE}.nodes.{module}", name, (("config", config), *parameters.items()), nice=nice)


def describe(
    config: str,
    cameras: Sequence[str],
    world: Process | None = None,
    human: bool = False,
    namespace: str = "",
    respawn: Mapping[str, Respawn] | None = None,
    policy: bool = True,
) -> GraphDescription:
    """The graph of a robot with `cameras`, its nodes in `namespace`, configured by the run file `config`.

    `world` None: the hardware is real. `policy` and `human` move the arm; both: the human may intervene. `respawn`: by kind of
    node; never arm_node.
    """
    nodes = (
        *(node(camera_node(camera), "camera_node", config, camera=camera) for camera in cameras),
        node("fallback_node", "fallback_node", config),
        node("monitor_node", "monitor_node", config),
        *((node(POLICY_NODE, "policy_node", config, nice=5),) if policy else ()),
        *((node(TELEOP_NODE, "teleop_node", config),) if human else ()),
        node(ARM_NODE, "arm_node", config),
        node(RECORDER_NODE, "recorder_node", config),
    )
    rules = {kind: rule for kind, rule in (respawn or {}).items() if kind != "arm"}
    placed = tuple(replace(each, namespace=namespace, respawn=rules.get(each.kind)) for each in nodes)
    return GraphDescription(world, placed, topics(cameras))
