"""Milliseconds from the capture of a picture to its value in another process: two cameras of 640x480 at 30 Hz.

The way the nodes use (bytes taken, read by rosbags) against rclpy's own ways and bytes at both ends. `extra`: pictures a second
of the 60 that were sent, and the shares of one core that writer and reader need. Half a minute for each round.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Result
from benchmarks.image_transport import WAYS
from robot_stack.discovery import PROFILES, RANGE, environment
from robot_stack.domain import lease_domain

SECONDS, ROUNDS, OURS = 6.0, 2, "taken_raw"


def main(arguments: Sequence[str] = ()) -> Result:
    """`arguments`: `short`, optional: one round of three seconds."""
    short = "short" in arguments
    rounds = [{way: _measure(way, 3.0 if short else SECONDS) for way in WAYS} for _ in range(1 if short else ROUNDS)]
    ages = {way: [age for each in rounds for age in each[way][1]["ages_ms"]] for way in WAYS}
    rows = [_row(way, [each[way] for each in rounds]) for way in WAYS]
    ours = ages.pop(OURS)
    return Result("image_transport", "ms", ours, ages, {"rows": rows})


def _row(way: str, ends: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    def mean(end: int, key: str) -> float:
        return round(sum(both[end][key] for both in ends) / len(ends), 4)

    return {
        "way": way,
        "rate_hz": mean(1, "rate_hz"),
        "writer_share": mean(0, "core_share"),
        "reader_share": mean(1, "core_share"),
    }


def _measure(way: str, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """What writer and reader say. `plain` has the middleware's own settings, on this computer alone."""
    with tempfile.TemporaryDirectory() as folder:
        lease = lease_domain()
        env = {**os.environ, **environment({}, Path(folder), lease.domain)}
        if way == "plain":
            env = {**env, RANGE: "LOCALHOST"}
            for name in PROFILES:
                env.pop(name)
        ends = [_end(role, way, seconds, env) for role in ("read", "write")]
        reader, writer = (json.loads(end.communicate()[0]) for end in ends)
        lease.release()
    return writer, reader


def _end(role: str, way: str, seconds: float, env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.image_transport", role, way, str(seconds)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
