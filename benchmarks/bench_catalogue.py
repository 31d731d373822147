"""Processor seconds and MiB of memory that listing, summing up and statistics of a dataset take, as it grows to 10 M rows.

Generated LeRobot v3 datasets of 7 joints, 100 rows an episode, EPISODES episodes; each look is a process of its own, so its
memory is its own. The figure is the processor time per thousand episodes at each size: linear time is a slope of one.
`memory_slope` is what the memory of a process grows by for each further thousand episodes, from the smallest to the largest.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Result

EPISODES = (12_500, 25_000, 100_000)
PER_FILE, ROWS, JOINTS, GROUP_ROWS = 12_500, 100, 7, 16_384
LOOKS = ("ls", "info", "statistics")
SCRIPT = """
import resource, sys
from pathlib import Path
from robot_stack.data.catalogue import Catalogue
from robot_stack.datasets import look
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
begin, catalogue = spent(), Catalogue.open(Path(sys.argv[2]))
if sys.argv[1] == "ls":
    for line in look.listed(catalogue):
        pass
    rows = int(line.split(" episodes, ")[1].split(" rows")[0].replace(",", ""))
elif sys.argv[1] == "info":
    rows = look.Totals.of(catalogue.entries()).rows
else:
    found = look.survey(catalogue, videos=False)
    assert not found.faults, found.faults[0]
    rows = found.rows
status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the process which started this one
print(spent() - begin, int(status.split("VmHWM:")[1].split()[0]) / 1024, rows)
"""


def main(arguments: Sequence[str]) -> Result:
    """`arguments`: nothing. Writes about 0.6 GB to a temporary folder, which it deletes."""
    figures: dict[str, dict[int, tuple[float, float]]] = {look: {} for look in LOOKS}
    with tempfile.TemporaryDirectory() as folder:
        for count in EPISODES:
            root = generate(Path(folder), count)
            for look in LOOKS:
                figures[look][count] = measured(look, root, count)
    samples = [1000 * s / count for count, (s, _) in figures["statistics"].items()]
    extra: dict[str, Any] = {f"{look}_slope": round(slope(sizes), 3) for look, sizes in figures.items()}
    extra |= {f"{look}_memory_slope_mib_per_1000": round(growth(sizes), 4) for look, sizes in figures.items()}
    for look, sizes in figures.items():
        extra[look] = {f"{count} episodes": f"{spent:.2f} s, {most:.0f} MiB" for count, (spent, most) in sizes.items()}
    return Result("catalogue", "s / 1000 episodes (statistics)", samples, extra={"rows": EPISODES[-1] * ROWS, **extra})


def measured(look: str, root: Path, count: int) -> tuple[float, float]:
    """Seconds of processor and the most MiB of a process that takes that `look`."""
    command = [sys.executable, "-c", SCRIPT, look, str(root)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if int(answer[2]) != count * ROWS:
        raise ValueError(f"{look}: found {answer[2]} rows, allowed {count * ROWS}")
    return float(answer[0]), float(answer[1])


def slope(sizes: dict[int, tuple[float, float]]) -> float:
    """The exponent p of time ~ episodes^p, by least squares on the logarithms: 1 is linear."""
    return float(np.polyfit(np.log(list(sizes)), np.log([spent for spent, _ in sizes.values()]), 1)[0])


def growth(sizes: dict[int, tuple[float, float]]) -> float:
    """MiB for each further thousand episodes."""
    first, last = min(sizes), max(sizes)
    return (sizes[last][1] - sizes[first][1]) / (last - first) * 1000


def generate(folder: Path, count: int) -> Path:
    """A dataset of `count` episodes in `folder`; the files of a smaller one there are part of it."""
    root = folder / "set"
    (root / "meta").mkdir(parents=True, exist_ok=True)
    for number in range(count // PER_FILE):
        if not (root / f"data/chunk-000/file-{number:03d}.parquet").exists():
            _file(root, number)
    tasks = pa.table({"task_index": pa.array([0]), "task": pa.array(["Reach."])})
    pq.write_table(tasks, root / "meta/tasks.parquet")
    vector = {"dtype": "float32", "shape": [JOINTS], "names": [f"joint_{i}" for i in range(JOINTS)]}
    scalar = {"shape": [1], "names": None}
    features = {"observation.state": vector, "action": vector, "timestamp": {"dtype": "float32", **scalar}}
    features |= {name: {"dtype": "int64", **scalar} for name in ("frame_index", "episode_index", "index", "task_index")}
    info = {"codebase_version": "v3.0", "robot_type": "made_up", "total_episodes": count, "total_frames": count * ROWS, "fps": 50}
    info |= {"data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "video_path": None, "features": features}
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def _file(root: Path, number: int) -> None:
    """PER_FILE episodes: random walks, the same for every run."""
    random, rows = np.random.default_rng(number), PER_FILE * ROWS
    q = np.cumsum(random.normal(0, 0.01, (rows, JOINTS)), axis=0, dtype=np.float32)
    index = np.arange(rows) + number * rows
    joints = pa.FixedSizeListArray.from_arrays(pa.array(q.reshape(-1)), JOINTS)
    columns = {"observation.state": joints, "action": joints}
    columns |= {"timestamp": pa.array((index % ROWS / 50).astype(np.float32)), "frame_index": pa.array(index % ROWS)}
    columns |= {
        "episode_index": pa.array(index // ROWS),
        "index": pa.array(index),
        "task_index": pa.array(np.zeros(rows, np.int64)),
    }
    for place in ("data", "meta/episodes"):
        (root / place / "chunk-000").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / f"data/chunk-000/file-{number:03d}.parquet", row_group_size=GROUP_ROWS)
    episodes = np.arange(PER_FILE) + number * PER_FILE
    values = {"length": ROWS, "data/chunk_index": 0, "data/file_index": number}
    same = {name: np.full(PER_FILE, value) for name, value in values.items()}
    same |= {"episode_index": episodes, "dataset_from_index": episodes * ROWS, "dataset_to_index": (episodes + 1) * ROWS}
    table = pa.table({name: pa.array(v) for name, v in same.items()} | {"tasks": pa.array([["Reach."]] * PER_FILE)})
    pq.write_table(table, root / f"meta/episodes/chunk-000/file-{number:03d}.parquet", row_group_size=1000)
