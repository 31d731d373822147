"""One ROS domain a run, so that graphs on one computer never hear each other; or one for several arms, each in a namespace."""

import random
import socket
from typing import IO

from robot_stack.errors import ConfigError
from robot_stack.exclusive import hold

FIRST, LAST = 1, 100
"""Above 100 the ports would reach into those Linux hands out by itself."""


class DomainLease:
    """A ROS domain, or a namespace on it, that nobody else holds, until `release()` or the end of this process."""

    def __init__(self, domain: int, *locks: IO[str]) -> None:
        self.domain = domain
        self._locks = locks

    def release(self) -> None:
        """Let others have the domain; allowed twice."""
        for lock in self._locks:
            lock.close()


def lease_domain(wanted: int = -1, namespace: str = "") -> DomainLease:
    """A lease on domain `wanted`, or on a free one when `wanted` < 0. Raises ConfigError when it is taken or none is left.

    With a `namespace` and a domain `wanted`, it is shared with the graphs in other namespaces.
    """
    if wanted > LAST or wanted == 0:
        raise ConfigError(f"run.domain: found {wanted}, allowed {FIRST}..{LAST}, or -1 for a free one")
    if namespace and wanted > 0:
        return _join(wanted, namespace)
    candidates = [wanted] if wanted > 0 else random.sample(range(FIRST, LAST + 1), LAST)
    for domain in candidates:
        lock = hold(f"domain_{domain}")
        if lock is not None and _silent(domain):
            return DomainLease(domain, lock)
        if lock is not None:
            lock.close()
    taken = f"{wanted} is" if wanted > 0 else "all are"
    raise ConfigError(f"run.domain: {taken} in use; stop that graph, or leave run.domain=-1 for a free one")


def _join(domain: int, namespace: str) -> DomainLease:
    room = hold(f"domain_{domain}", shared=True)
    if room is None:
        raise ConfigError(f"run.domain: {domain} is in use by a graph without a namespace; stop that one, or choose another")
    place = hold(f"domain_{domain}_{namespace}")
    if place is None:
        room.close()
        raise ConfigError(f"run.namespace: {namespace} is in use on domain {domain}; stop that graph, or choose another name")
    return DomainLease(domain, room, place)


def _silent(domain: int) -> bool:
    """True when no participant of another program sits on the first discovery port of `domain` (DDSI-RTPS 9.6.1.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 7400 + 250 * domain + 10))
        except OSError:
            return False
    return True
