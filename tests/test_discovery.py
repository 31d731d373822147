"""Discovery stays on this computer unless a network is named."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from robot_stack.discovery import environment, loopback_profile, require_buffer, require_known_network
from robot_stack.errors import ConfigError


def test_the_default_environment_keeps_every_socket_on_loopback(tmp_path: Path) -> None:
    added = environment({}, tmp_path, domain=7)
    profile = Path(added["FASTRTPS_DEFAULT_PROFILES_FILE"])
    assert added["FASTDDS_DEFAULT_PROFILES_FILE"] == str(profile) and added["ROS_DOMAIN_ID"] == "7"
    addresses = [e.text.strip() for e in ElementTree.parse(profile).iter() if e.tag.endswith("address") and e.text]
    assert set(addresses) == {"127.0.0.1"}
    require_known_network(added)


def test_the_profile_that_ships_shares_no_memory_and_has_no_builtin_transports() -> None:
    root = ElementTree.fromstring(loopback_profile())
    texts = [(e.tag.rpartition("}")[2], (e.text or "").strip()) for e in root.iter()]
    assert [text for tag, text in texts if tag == "type"] == ["UDPv4"]
    assert ("useBuiltinTransports", "false") in texts


def test_sockets_that_cannot_hold_two_pictures_are_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "net" / "core" / "rmem_max"
    file.parent.mkdir(parents=True)
    file.write_text("212992\n")
    require_buffer(3 * 128 * 128, file)
    with pytest.raises(ConfigError, match=r"net.core.rmem_max: found 212992, allowed 1843200 or more .* next: sudo sysctl"):
        require_buffer(3 * 640 * 480, file)
    require_buffer(3 * 640 * 480, tmp_path / "no such kernel")


@pytest.mark.parametrize(
    "ambient",
    [{"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, {"ROS_STATIC_PEERS": "10.0.0.2"}, {"ROS_DISCOVERY_SERVER": "10.0.0.2:11811"}],
)
def test_an_environment_that_opens_the_graph_is_refused_unless_a_network_is_named(
    ambient: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="run.network"):
        environment(ambient, tmp_path, domain=7)
    added = environment(ambient, tmp_path, domain=7, network="192.0.2.5")
    assert added["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    text = Path(added["FASTRTPS_DEFAULT_PROFILES_FILE"]).read_text()
    assert "<address>192.0.2.5</address>" in text and "initialPeersList" not in text
    ElementTree.fromstring(text)


def test_a_network_that_is_no_address_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="IPv4"):
        environment({}, tmp_path, domain=7, network="eth0")


@pytest.mark.parametrize("ambient", [{}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT"}, {"ROS_LOCALHOST_ONLY": "1"}])
def test_a_node_in_a_bare_shell_refuses_to_open_a_socket(ambient: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="LOCALHOST"):
        require_known_network(ambient)


def test_localhost_discovery_set_by_hand_is_enough() -> None:
    require_known_network({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"})
