"""kill -9 of a process that exports: the bundle that was there stays whole, or the new one is; the next export works."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from policies import bundle as bundles
from policies.bundle import MANIFEST, MANIFEST_SUM, MODEL, load_bundle, put_in_place
from policies.export import export_bundle

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["policies.export"])


def is_new(out: Path) -> bool:
    return "precision: fp16" in (out / MANIFEST).read_text()


MOMENTS: dict[str, Callable[[Path, Path], bool]] = {
    "the folder is there": lambda part, out: part.exists(),
    "the graph is being measured": lambda part, out: (part / MODEL).exists(),
    "the manifest is written": lambda part, out: (part / MANIFEST).exists(),
    "all is written": lambda part, out: (part / MANIFEST_SUM).exists(),
    "the new one is in place": lambda part, out: is_new(out),
}
EARLY = ("the folder is there", "the graph is being measured")


def killed(reached: Callable[[], bool], arguments: tuple[object, ...]) -> int:
    """The exit code of an export that was killed as soon as `reached`."""
    process = PROCESSES.Process(target=export_bundle, args=arguments, daemon=True)
    process.start()
    while process.is_alive() and not reached():
        process.join(0.0005)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode


@pytest.mark.parametrize("moment", [pytest.param(m, marks=[] if m == EARLY[1] else pytest.mark.slow) for m in MOMENTS])
@pytest.mark.timeout(1800)
def test_an_export_killed_at_any_moment_leaves_a_whole_bundle(moment, bundle, checkpoint, episodes, tmp_path):
    out, part = shutil.copytree(bundle, tmp_path / "bundle"), tmp_path / "bundle.part"
    arguments = (checkpoint, out, None, episodes, 0.0, "fp16")
    code = killed(lambda: MOMENTS[moment](part, out), arguments)
    assert code == -signal.SIGKILL or moment not in EARLY, "it was to be killed in the middle"
    assert load_bundle(out).manifest.precision in (("fp32",) if moment in EARLY else ("fp32", "fp16"))
    export_bundle(*arguments)
    assert load_bundle(out).manifest.precision == "fp16" and [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_takes_the_place_of_another_even_without_the_call_that_exchanges_them(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "RENAME_EXCHANGE", 1 << 30)
    for name in ("old", "new", "new"):
        (tmp_path / "part").mkdir()
        (tmp_path / "part" / "file").write_text(name)
        put_in_place(tmp_path / "part", tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "new" and [path.name for path in tmp_path.iterdir()] == ["out"]
