"""One function over many logs: here, one after the other, or in as many processes as Ray has cores. The answers are the same."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from robot_stack.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")

LOCAL = "local"
"""The cores of this computer, by processes that listen on the loopback alone."""
KNOCK_S = 5.0


def parallel_map(fn: Callable[[T], R], items: Sequence[T], ray: str = "") -> Iterator[R]:
    """`fn` of each of `items`, in their order, as they become ready. `ray`: "" here, "local", or the address of a cluster.

    With Ray `fn` and `items` are pickled, and what `fn` reads and writes must lie where every worker finds it. What `fn`
    raises is raised here, at its place in the order; what was not begun by then is not begun any more.
    Raises ModuleNotFoundError without Ray (extra `scale`), ConfigError when nobody answers at the address.
    """
    if not ray:
        yield from map(fn, items)
        return
    with _ray(ray) as cluster:
        task, shared = cluster.remote(_apply), cluster.put(fn)
        for answer in [task.remote(shared, item) for item in items]:
            try:
                yield cluster.get(answer)
            except cluster.exceptions.RayTaskError as error:  # it wraps what `fn` raised, and prints the worker's whole stack
                raise error.cause from error


def _apply(fn: Callable[[T], R], item: T) -> R:
    return fn(item)


@contextmanager
def _ray(where: str) -> Iterator[Any]:
    """The connected `ray` module. What it reads at its import keeps it quiet about its use and, `LOCAL`, on the loopback."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if where == LOCAL:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # heeded on Linux too
    import ray

    try:
        if where != LOCAL:
            _knock(where)
        target = {"include_dashboard": False} if where == LOCAL else {"address": where}
        ray.init(log_to_driver=False, logging_level="ERROR", **target)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"ray: found nobody at {where!r} ({error}); allowed {LOCAL!r} or the address of a cluster") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError or ValueError unless somebody listens at "[ray://]HOST:PORT"; Ray itself would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    socket.create_connection((host, int(port)), KNOCK_S).close()
