"""What every figure has in common: how it is summed up, printed and stored.

A benchmark is a file `bench_NAME.py` with `main(arguments: Sequence[str]) -> Result | list[Result]`; `robot-stack bench NAME`
runs it, prints the table and writes `benchmarks/results/NAME.json`.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("robot_stack", "numpy", "onnxruntime", "opencv-python-headless", "daqp", "torch", "mujoco", "rosbags", "ros-rclpy")


@dataclass(frozen=True)
class Result:
    """One figure: `samples` in `unit`. `against` holds the samples of each peer, measured interleaved in the same run."""

    name: str
    unit: str
    samples: Sequence[float]
    against: Mapping[str, Sequence[float]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """What is stored: n and percentiles, the same and the ratio of medians (this / peer) for each peer, versions, machine."""
        ours = summary(self.samples)
        peers = {peer: summary(samples) for peer, samples in self.against.items()}
        for peer in peers.values():
            peer["ratio"] = ours["p50"] / peer["p50"] if peer["p50"] else None
        return {
            "name": self.name,
            "unit": self.unit,
            **ours,
            "against": peers,
            "extra": dict(self.extra),
            "versions": versions(),
            "machine": machine(),
        }


def keep(file: Path, row: Mapping[str, Any]) -> None:
    """Add `row` to the ledger `file`, one JSON object a line (an Enum by its value): an interrupted run goes on from there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, default=lambda enum: enum.value) + "\n")


def ledger_rows(file: Path) -> list[dict[str, Any]]:
    """The rows an interrupted run has left in `file`; one that a kill cut short is left out."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """n, p50, p95, p99 and max of `samples`, linear interpolation. ValueError on none, or on one that is not a number."""
    values = np.asarray(samples, dtype=float)
    if values.size == 0 or not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"samples: found {values.size}, {bad} of them not finite; allowed at least one, all finite")
    p50, p95, p99 = (float(p) for p in np.percentile(values, (50, 95, 99)))
    return {"n": int(values.size), "p50": p50, "p95": p95, "p99": p99, "max": float(values.max())}


def store(results: Sequence[Result], folder: Path = RESULTS) -> list[Path]:
    """Write each result to `folder`/NAME.json; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for result in results:
        file = folder / f"{result.name}.json"
        file.write_text(json.dumps(result.as_dict(), indent=2, sort_keys=False) + "\n", encoding="utf-8")
        files.append(file)
    return files


def table(results: Sequence[Result]) -> str:
    """The results as text, one line each and one for each peer."""
    lines = [f"{'figure':<34}{'n':>8}{'p50':>11}{'p95':>11}{'p99':>11}{'max':>11}  unit"]
    for result in results:
        values = result.as_dict()
        lines.append(_line(result.name, values, result.unit))
        for peer, theirs in values["against"].items():
            ratio = "" if theirs["ratio"] is None else f"  ({theirs['ratio']:.2f} x)"
            lines.append(_line(f"  against {peer}", theirs, result.unit) + ratio)
        lines += [f"  {key}: {value}" for key, value in result.extra.items()]
    return "\n".join(lines)


def _line(name: str, values: Mapping[str, Any], unit: str) -> str:
    figures = "".join(f"{values[key]:>11.4g}" for key in ("p50", "p95", "p99", "max"))
    return f"{name:<34}{values['n']:>8}{figures}  {unit}"


def versions() -> dict[str, str]:
    """The versions of what a figure depends on, and the commit it was measured at (`+` at the end: with changes)."""
    found = {"python": platform.python_version(), "commit": commit()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The short git commit of this tree, or "unknown"."""
    here = Path(__file__).resolve().parent
    answer = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    """What it was measured on; `load` is the one-minute load average at the end, neighbours included."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "load": round(os.getloadavg()[0], 2),
    }


def cpu_name() -> str:
    """The processor as the kernel names it, or what Python knows."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
