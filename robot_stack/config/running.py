"""The settings of the running graph, part of `schema.py`."""

import re
from dataclasses import dataclass, field

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError

SEAMS = ("as_is", "inpainted", "averaged")
ENGINES = ("auto", "tensorrt", "onnxruntime_gpu", "openvino", "onnxruntime")
RESPAWNED = ("camera", "fallback", "monitor", "policy", "teleop", "recorder")
"""Nodes that may be started again. Never arm_node: its death stops the arm, and who goes on is for a person to say."""


@dataclass(frozen=True)
class RunSettings:
    """The ROS 2 graph. Times in s.

    `domain` < 0: a free one is drawn for each run. `namespace`: the name of this arm among several on one `domain`. `network` "":
    this computer alone, else the IPv4 address of the interface to use. `fifo_priority` 1..99 asks for SCHED_FIFO for the control
    loop (0: normal scheduling), `cpu` >= 0 for that core. `policy_period_s`, `teleop_period_s`: least time between two chunks; a
    policy that decides anew too often changes its mind too often.
    `engine` that runs the bundle: auto (the best there is) or one by name. `candidates` N (0: the bundle's). `seams`: a chunk
    goes on from the one before as_is, inpainted or averaged (`onnx_policy`).
    `start_s`: how long the graph may take to come up.
    `respawn`: nodes that are started again after a failure ("policy", "camera:20" with its own number of tries), after
    `respawn_wait_s`, twice as long each time up to `respawn_most_s`, at most `respawn_tries` times in a row: one that ran for
    `respawn_well_s` begins a new row. Nodes not named stay dead.
    Episode i of `episodes` starts the simulated world from `seed` + i. `console`: the operator's page beside it.
    `allow`: names of programs beside this graph that may send chunks and arm it, each with the key that is written for it into
    the run's folder; [anyone]: whoever is on `network`. `trusted_keys`: files of public keys; with any, a bundle that none of
    them signed is refused. `keystore`: the folder of `robot-stack secure enclaves`; DDS security is then enforced, or nothing
    starts.
    """

    domain: int = -1
    namespace: str = ""
    network: str = ""
    log_dir: str = "runs"
    episode_s: float = 12.0
    episodes: list[str] = field(default_factory=lambda: ["nominal"])
    fifo_priority: int = 0
    cpu: int = -1
    policy_period_s: float = 0.2
    teleop_period_s: float = 0.1
    engine: str = "auto"
    candidates: int = 0
    seams: str = "as_is"
    start_s: float = 60.0
    respawn: list[str] = field(default_factory=lambda: list(RESPAWNED))
    respawn_tries: int = 5
    respawn_wait_s: float = 0.5
    respawn_most_s: float = 8.0
    respawn_well_s: float = 30.0
    seed: int = 0
    console: bool = False
    allow: list[str] = field(default_factory=list)
    trusted_keys: list[str] = field(default_factory=list)
    keystore: str = ""

    def __post_init__(self) -> None:
        at_least("run", self, 0.0, "episode_s", "start_s", "candidates", "fifo_priority", "seed", "respawn_tries")
        at_least("run", self, 0.0, "respawn_wait_s", "respawn_most_s", "respawn_well_s")
        at_least("run", self, 0.001, "policy_period_s", "teleop_period_s")
        for key, names in (("seams", SEAMS), ("engine", ENGINES)):
            if (value := getattr(self, key)) not in names:
                raise ConfigError(f"run.{key}: found {value!r}, allowed {', '.join(names)}")
        if not re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)?", self.namespace):
            raise ConfigError(f"run.namespace: found {self.namespace!r}, allowed letters, digits and _, a letter first, or ''")
        for entry in self.respawn:
            if not re.fullmatch(rf"({'|'.join(RESPAWNED)})(:\d{{1,4}})?", entry):
                allowed = f"{', '.join(RESPAWNED)}, each with :TRIES if wanted; arm_node is never started again"
                raise ConfigError(f"run.respawn: found {entry!r}, allowed {allowed}")
