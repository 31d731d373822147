"""Episodes in Rerun (extra `rerun`): joints, commands and pictures on one timeline, in its viewer or as a .rrd file."""

import itertools

import numpy as np

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.recording import ACTION, STATE, Recording
from robot_stack.data.video import iterate
from robot_stack.datasets.convert import Fault
from robot_stack.errors import DataError


def open_in_rerun(catalogue: Catalogue, episodes: list[str], limit: int, out: str) -> list[Fault]:
    """Show `episodes` (none: the first `limit`). An `out` that ends in .rrd is written; else Rerun's viewer is opened.

    Returns what could not be read. Raises ModuleNotFoundError without rerun-sdk.
    """
    import rerun

    rerun.init(f"robot_stack {catalogue.root.name}", spawn=not out.endswith(".rrd"))
    if out.endswith(".rrd"):
        rerun.save(out)
    faults = []
    for entry in itertools.islice(catalogue.find(episodes), None if episodes else limit):
        try:
            _log(catalogue.recording(entry))
        except DataError as error:
            faults.append(Fault(entry.name, str(error)))
    rerun.disconnect()  # a file gets its index at its end
    return faults


def _log(found: Recording) -> None:
    """One episode under its name: scalars column by column, pictures as JPEG."""
    import rerun as rr

    times = found.times_s()
    index = rr.TimeColumn("time", duration=times)
    for name, values in found.columns.items():
        if name in (STATE, ACTION) or values.ndim == 1:
            wide = np.asarray(values, dtype=np.float64).reshape(len(found), -1)
            words = found.names.get(name) or [str(i) for i in range(wide.shape[1])]
            path = f"{found.name}/{name.replace('.', '/')}"
            rr.log(path, rr.SeriesLines(names=list(words)), static=True)
            rr.send_columns(path, [index], rr.Scalars.columns(scalars=wide))
    for camera, pictures in found.cameras.items():
        for time_s, image in zip(times, iterate(pictures), strict=True):
            rr.set_time("time", duration=float(time_s))
            rr.log(f"{found.name}/{camera}", rr.Image(image).compress(jpeg_quality=85))
