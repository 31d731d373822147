"""Records pictures of noise into `folder`, the root of a small file system, until it is full; says in JSON what it was told."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from robot_stack.collect.recorder import Recorder
from robot_stack.config.collect import CollectSettings
from robot_stack.data.log import read_log
from robot_stack.errors import DataError
from robot_stack.types import CameraFrame
from tests.collect.small_robot import METADATA, message

PATIENCE_S = 60.0


def frame(i: int) -> bytes:
    rgb = np.random.default_rng(i).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    return message(CameraFrame("scene", i, rgb))


def told(act: object) -> str:
    try:
        return f"allowed: {act()}"  # type: ignore[operator]
    except DataError as error:
        return str(error)


def main(folder: Path) -> None:
    said: list[str] = []
    recorder = Recorder(CollectSettings(codec="lossless", free_mib=1.0), said.append, lambda error: said.append(repr(error)))
    recorder.start(folder / "first", METADATA)
    deadline, given = time.monotonic() + PATIENCE_S, 0
    while not recorder.status()["fault"] and time.monotonic() < deadline:
        recorder.put("/scene/image", given, frame(given))
        given += 1
        time.sleep(0.002)
    stopped = told(recorder.stop)
    log = read_log(folder / "first")
    stamps = [value.t_ns for _, _, value in log.iterate()]
    whole = {"complete": log.complete, "prefix": stamps == list(range(len(stamps))), "count": len(stamps), "given": given}
    counts = {
        "messages": log.summary.messages,
        "drops": log.summary.drops,
        "metadata": (folder / "first" / "metadata.yaml").is_file(),
    }
    again = told(lambda: recorder.start(folder / "again", METADATA))
    os.truncate(next((folder / "first").glob("*.mcap")), 0)
    goes_on = told(lambda: recorder.start(folder / "goes_on", METADATA)), told(recorder.stop)
    recorder.close()
    print(json.dumps({"said": said, "stopped": stopped, "again": again, "goes_on": goes_on, **whole, **counts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
