"""A keystore in use: what a starter adds so that DDS enforces it, and whether the ROS 2 that is installed can."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from robot_stack.errors import ConfigError
from robot_stack.graph import GraphDescription, within
from robot_stack.secure.enclaves import OPERATOR

ENABLE = "ROS_SECURITY_ENABLE"
PROBE = "import rclpy, rclpy.node; rclpy.init(args=['--ros-args', '--enclave', {!r}]); rclpy.node.Node('probe'); print('secured')"
PROBE_S = 60.0


def secured_environment(keystore: str) -> dict[str, str]:
    """What rcl reads: without the certificate of its enclave no process gets onto DDS."""
    return {ENABLE: "true", "ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_KEYSTORE": keystore}


def in_enclaves(description: GraphDescription, namespace: str = "") -> GraphDescription:
    """`description` with each node in the enclave of its own name."""
    nodes = (replace(p, arguments=(*p.arguments, *enclave_arguments(within(namespace, p.node)), "--")) for p in description.nodes)
    return replace(description, nodes=tuple(nodes))


def enclave_arguments(name: str) -> list[str]:
    """The arguments for rcl of a process in the enclave `name`."""
    return ["--ros-args", "--enclave", name]


def own_arguments(environment: Mapping[str, str], name: str) -> list[str]:
    """`enclave_arguments` where `environment` asks for security, none elsewhere."""
    return enclave_arguments(name) if environment.get(ENABLE) == "true" else []


def require_security(keystore: Path, environment: Mapping[str, str], namespace: str = "") -> None:
    """Raises ConfigError unless a node of this ROS 2 comes up in the operator's enclave of `keystore`; the wheels' does not."""
    name = within(namespace, OPERATOR)
    if not (keystore / "enclaves" / name.strip("/") / "permissions.p7s").is_file():
        raise ConfigError(f"run.keystore: {keystore} has no enclave {name}; next: robot-stack secure enclaves out={keystore}")
    command = [sys.executable, "-c", PROBE.format(name)]
    added = {**os.environ, **environment, **secured_environment(str(keystore))}
    try:
        ended = subprocess.run(command, env=added, capture_output=True, text=True, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"run.keystore: a secured node did not come up within {PROBE_S:.0f} s; is the computer busy?") from None
    if ended.returncode or "secured" not in ended.stdout:
        why = _reason(ended.stderr)
        raise ConfigError(
            f"run.keystore: this ROS 2 refuses to start a secured node ({why}); built without DDS security it fails "
            "closed, as the pip wheels do; next: a ROS 2 built with it, or run.keystore='' (messages stay sealed: SECURITY.md)"
        )


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "security" in line.lower()]
    return (lines or text.strip().splitlines() or ["no reason given"])[-1][:300]
