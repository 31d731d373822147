"""Somebody sets the date while the robot runs: nothing that decides looks at it.

The date of this computer is never touched: it steps for one child process (clock_step.c, preloaded), waits that end at a date
included. A time namespace would not do: it moves CLOCK_MONOTONIC and never CLOCK_REALTIME. On the whole graph:
`robot-stack bench faults`, clock_forward and clock_back.
"""

import ast
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECIDING = ("robot_stack/nodes/*.py", "safety/*.py", "robot_stack/control.py", "robot_stack/chunks.py", "robot_stack/observe.py")
WALL = {"time", "time_ns", "now", "utcnow", "localtime", "gmtime", "strftime", "CLOCK_REALTIME"}
HOUR_NS = 3600 * 10**9

CHILD = """
    import struct, sys, threading, time
    from pathlib import Path
    from robot_stack.nodes.periodic import Periodic

    file, by_ns = Path(sys.argv[1]), int(sys.argv[2])
    ticks, faults, late = [], [], threading.Event()

    def tick(_):
        ticks.append((time.monotonic_ns(), time.time_ns()))
        if len(ticks) == 20:
            with file.open("r+b") as stream:
                stream.write(struct.pack("<q", by_ns))
        if len(ticks) == 40:
            late.set()

    loop = Periodic("control", 10_000_000, tick, faults.append)
    loop.start()
    assert late.wait(30.0) and loop.stop() and not faults
    for monotonic_ns, date_ns in ticks[:40]:
        print(monotonic_ns, date_ns)
"""


def test_no_file_that_decides_reads_the_date() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for pattern in DECIDING
        for path in ROOT.glob(pattern)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in WALL
        if isinstance(node.value, ast.Name) and node.value.id in ("time", "datetime", "date")
    }
    assert not found


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("the date of one process is stepped by a library made with a C compiler (cc), which is not here")
    made = tmp_path_factory.mktemp("shim") / "clock_step.so"
    source = Path(__file__).with_name("clock_step.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"], check=True)
    return made


@pytest.mark.parametrize("by_ns", [HOUR_NS, -HOUR_NS], ids=["forward", "back"])
def test_a_loop_keeps_its_deadlines_while_the_date_steps_by_an_hour(by_ns: int, shim: Path, tmp_path: Path) -> None:
    file = tmp_path / "step"
    file.write_bytes(struct.pack("<q", 0))
    added = {"LD_PRELOAD": str(shim), "CLOCK_STEP_FILE": str(file), "PYTHONPATH": str(ROOT)}
    code = "\n".join(line[4:] for line in CHILD.splitlines())
    ended = subprocess.run(
        [sys.executable, "-c", code, str(file), str(by_ns)],
        env={**os.environ, **added},
        capture_output=True,
        text=True,
        check=True,
    )
    ticks = [tuple(int(word) for word in line.split()) for line in ended.stdout.splitlines()]
    dates = [later[1] - earlier[1] for earlier, later in zip(ticks, ticks[1:], strict=False)]
    times = [later[0] - earlier[0] for earlier, later in zip(ticks, ticks[1:], strict=False)]
    assert sum(abs(date - time) > HOUR_NS // 2 for date, time in zip(dates, times, strict=True)) == 1, "the date stepped, once"
    assert min(times) > 0 and sum(times) < HOUR_NS, "the deadlines did not"
