"""How the operator's page is served: `robot-stack console`, or beside a graph that was started with run.console=true."""

import ipaddress
from dataclasses import dataclass

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError


@dataclass(frozen=True)
class ConsoleCommand:
    """Serve the operator's page for the running graph whose folder is `graph`, or for the newest one in that folder.

    `host`: the IPv4 address of this computer to serve on; whoever can reach it and has the printed address may operate the robot,
    and nothing is encrypted. `port` 0: a free one. A camera is shown `camera_hz` times a second at most, no wider than
    `camera_width` px, as JPEG of `jpeg_quality`; the rest `state_hz` times.
    """

    graph: str = "runs"
    host: str = "127.0.0.1"
    port: int = 0
    state_hz: float = 10.0
    camera_hz: float = 12.0
    camera_width: int = 640
    jpeg_quality: int = 80

    def __post_init__(self) -> None:
        at_least("console", self, 0.1, "state_hz", "camera_hz")
        at_least("console", self, 16, "camera_width")
        if not 0 <= self.port <= 65535 or not 1 <= self.jpeg_quality <= 100:
            found = f"{self.port}, {self.jpeg_quality}"
            raise ConfigError(f"console.port, console.jpeg_quality: found {found}, allowed 0..65535 and 1..100")
        if not _is_address(self.host):
            raise ConfigError(
                f"console.host: found {self.host!r}, allowed one IPv4 address of this computer, as 127.0.0.1; "
                "not 0.0.0.0, by which no browser could be told from one that was sent here by another page"
            )


def _is_address(host: str) -> bool:
    try:
        return not ipaddress.IPv4Address(host).is_unspecified
    except ValueError:
        return False
