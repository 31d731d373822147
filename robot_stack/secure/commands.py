"""`robot-stack secure`: enclaves for DDS security, keys that sign bundles, and what protects this computer's graphs."""

import os
import tempfile
from pathlib import Path

from robot_stack.config.robot_file import load_robot
from robot_stack.config.secure import SecureCommand
from robot_stack.data.log_file import check_sum
from robot_stack.data.log_reader import read_log
from robot_stack.discovery import environment
from robot_stack.domain import lease_domain
from robot_stack.errors import ConfigError
from robot_stack.graph import describe
from robot_stack.secure.enclaves import Enclave, enclaves
from robot_stack.secure.keystore import make_keystore
from robot_stack.secure.use import require_security
from robot_stack.signature import make_key_pair, sign, verify


def main(asked: SecureCommand) -> int:
    """Does what was asked and says what came of it. Raises ConfigError, PolicyError."""
    match asked.action:
        case "enclaves":
            listed = _listed(asked)
            made = make_keystore(Path(asked.out).resolve(), listed, asked.days)
            print(f"{made}: {len(listed)} enclaves for {asked.days} days; next: robot-stack run run.keystore={asked.out}")
        case "keygen":
            private, public = make_key_pair(Path(asked.key))
            print(f"{private}: keep it off the robot\n{public}: next: run.trusted_keys=[{public}]")
        case "sign":
            print(f"signed: {sign(Path(asked.bundle), Path(asked.key))}")
        case "verify" if asked.log:
            file = read_log(Path(asked.log)).path
            print(f"{file}: as it was recorded, sha256 {check_sum(file)}")
        case "verify":
            print(f"{asked.bundle}: signed by {verify(Path(asked.bundle), [asked.key])}")
        case _:
            print(_status())
    return 0


def _listed(asked: SecureCommand) -> tuple[Enclave, ...]:
    cameras = [camera.name for camera in load_robot(asked.robot).cameras]
    return enclaves(describe("", cameras, human=True, namespace=asked.namespace), cameras, asked.namespace)


def _status() -> str:
    """One line each: the network, the seals, DDS security, tried with a keystore made for it."""
    lines = [
        "network: graphs are found on this computer alone, unless run.network names an interface",
        "seals: arm_node, and every node that acts on a message, takes only what a key of the run has sealed",
    ]
    with tempfile.TemporaryDirectory() as folder:
        keystore = make_keystore(Path(folder) / "keystore", enclaves(describe("", ()), ()), 1)
        lease = lease_domain()
        try:
            require_security(keystore, environment(os.environ, Path(folder), lease.domain))
            lines.append("DDS security: works here; next: robot-stack secure enclaves, and run.keystore=...")
        except ConfigError as error:
            lines.append(f"DDS security: not here: {error}")
        finally:
            lease.release()
    return "\n".join(lines)
