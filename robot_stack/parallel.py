"""One function over many logs: here, one after the other, or in as many processes as Ray has cores. The answers are the same."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from robot_stack.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")

LOCAL = "local"
"""The cores of this computer, by processes that listen on the loopback alone."""


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
    """The connected `ray` module. Ray is told to report its use to nobody."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **(here if where == LOCAL else {"address": where}))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"ray: found nobody at {where!r} ({error}); allowed {LOCAL!r} or the address of a cluster") from error
    try:
        yield ray
    finally:
        ray.shutdown()
