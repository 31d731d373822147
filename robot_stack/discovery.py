"""Which network the ROS 2 graph may be found on. The default is this computer alone; the middleware's own default is everyone.

`environment()` is what a starter gives its processes; `require_known_network()` is what every node checks before it opens a
socket, so that a node started by hand in a bare shell refuses instead of sending multicast to the building.
"""

import ipaddress
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from robot_stack.errors import ConfigError

LOOPBACK = "127.0.0.1"
NETWORK = "ROBOT_STACK_NETWORK"
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Jazzy reads the first, Kilted the second."""
RECEIVE_BUFFER = Path("/proc/sys/net/core/rmem_max")
MORE_BUFFER = "sudo sysctl -w net.core.rmem_max=4194304 (and a line in /etc/sysctl.d to keep it)"
OPENERS = ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER")
"""Variables that name peers elsewhere."""


def loopback_profile() -> str:
    """The Fast DDS profile that ships: loopback sockets only."""
    return resources.files("robot_stack.config").joinpath("dds/loopback.xml").read_text()


def environment(ambient: Mapping[str, str], directory: Path, domain: int, network: str = "") -> dict[str, str]:
    """What to add to the environment of every process of a graph on `domain`; writes the profile it names into `directory`.

    `network`: "" = this computer alone, else the IPv4 address of the one interface that may be used. Raises ConfigError when
    `ambient` asks for other computers while `network` does not, or `network` is not an address.
    """
    if not network:
        _refuse_open(ambient)
    address = _address(network)
    profile = directory / "dds_profile.xml"
    profile.write_text(_profile(address))
    reach = "SYSTEM_DEFAULT" if address == LOOPBACK else "SUBNET"
    return {NETWORK: address, RANGE: reach, "ROS_DOMAIN_ID": str(domain)} | dict.fromkeys(PROFILES, str(profile))


def require_buffer(picture_bytes: int, file: Path = RECEIVE_BUFFER) -> None:
    """Raises ConfigError where sockets of this computer cannot hold two pictures of `picture_bytes`: half would be lost."""
    found = int(file.read_text()) if file.is_file() else math.inf
    if found < 2 * picture_bytes:
        raise ConfigError(
            f"{'.'.join(file.parts[-3:])}: found {found}, allowed {2 * picture_bytes} or more for pictures of {picture_bytes} "
            f"bytes; next: {MORE_BUFFER}"
        )


def require_known_network(ambient: Mapping[str, str]) -> None:
    """Raises ConfigError unless `ambient` limits discovery: set by `environment()`, or LOCALHOST, or off."""
    if ambient.get(RANGE) in ("LOCALHOST", "OFF"):
        return
    if ambient.get(NETWORK) and any(Path(ambient.get(name, "")).is_file() for name in PROFILES):
        return
    raise ConfigError(
        f"{RANGE}: found {ambient.get(RANGE, 'nothing')!r}, allowed 'LOCALHOST' (or start the graph with `robot-stack run`, "
        "which keeps it on this computer; run.network=ADDRESS names another network)"
    )


def _refuse_open(ambient: Mapping[str, str]) -> None:
    reach = ambient.get(RANGE, "")
    named = [f"{name}={ambient[name]}" for name in OPENERS if ambient.get(name)]
    if reach == "SUBNET":
        named.append(f"{RANGE}=SUBNET")
    if named:
        raise ConfigError(
            f"run.network: found nothing, but the environment opens the graph to other computers ({', '.join(named)}); "
            "unset these, or name the network: run.network=<IPv4 address of this computer's interface>"
        )


def _address(network: str) -> str:
    try:
        return str(ipaddress.IPv4Address(network or LOOPBACK))
    except ValueError:
        raise ConfigError(
            f"run.network: found {network!r}, allowed the IPv4 address of one interface of this computer, or '' for loopback"
        ) from None


def _profile(address: str) -> str:
    text = loopback_profile()
    if address == LOOPBACK:
        return text
    head, rest = text.split("<builtin>")
    return (head + rest.split("</builtin>")[1]).replace(LOOPBACK, address)
