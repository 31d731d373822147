"""A ROS domain of this computer that is nobody else's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robot_stack.discovery import environment
from robot_stack.domain import lease_domain


@contextmanager
def own_domain(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Its number, and the environment of processes in it; `folder` holds their DDS profile.

    Until the block ends this process, too, keeps to the loopback. It has to name the domain: its ROS_DOMAIN_ID stays as it was.
    """
    lease = lease_domain()
    added = environment({}, folder, lease.domain)
    with pytest.MonkeyPatch.context() as patch:
        for name in added.keys() - {"ROS_DOMAIN_ID"}:
            patch.setenv(name, added[name])
        try:
            yield lease.domain, {**os.environ, **added}
        finally:
            lease.release()
