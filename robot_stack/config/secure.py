"""What `robot-stack secure` may be told."""

from dataclasses import dataclass

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError

ACTIONS = ("status", "enclaves", "keygen", "sign", "verify")


@dataclass(frozen=True)
class SecureCommand:
    """`status`: what keeps strangers out here; `enclaves` of DDS security for `robot` (in `namespace`) into `out`, for so many
    `days`; `keygen`: a new key pair at `key`; `sign` the `bundle` with the private `key`; `verify` it with the public `key`, or a
    `log` against the hash that its recorder wrote."""

    action: str = "status"
    robot: str = "sim_arm"
    namespace: str = ""
    out: str = "runs/keystore"
    days: int = 365
    bundle: str = ""
    key: str = ""
    log: str = ""

    def __post_init__(self) -> None:
        at_least("secure", self, 1, "days")
        if self.action not in ACTIONS:
            raise ConfigError(f"action: found {self.action!r}, allowed {', '.join(ACTIONS)}")
        if self.action == "verify" and self.log:
            return
        needed = {"keygen": ("key",), "sign": ("bundle", "key"), "verify": ("bundle", "key")}.get(self.action, ())
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            given = " ".join(f"{name}=..." for name in needed)
            raise ConfigError(f"{missing[0]}: missing; next: robot-stack secure {self.action} {given}")
