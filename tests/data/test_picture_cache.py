"""Decoded pictures in mapped files: a process killed while it makes one leaves nothing that is believed later."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from robot_stack.data import picture_cache
from robot_stack.data.picture_cache import digest_of, kept
from robot_stack.errors import DataError
from robot_stack.types import Image

PROCESSES = multiprocessing.get_context("forkserver")
PATIENCE_S = 150.0
KILLED = -9


def decoded() -> Image:
    return np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)


def die(moment: str, file: Path) -> None:
    """Make `file`, and be killed while decoding, with `half` of it on the disk, or with all of it but not yet renamed."""

    def decode() -> Image:
        if moment == "decoding":
            os.kill(os.getpid(), signal.SIGKILL)
        return decoded()

    def sync(written: int) -> None:
        if moment == "half":
            os.ftruncate(written, os.fstat(written).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    picture_cache.os.fsync = sync  # type: ignore[attr-defined, assignment]
    kept(file, decode)


def make_noted(file: Path, notes: Path) -> None:
    """Make `file`; every decoding leaves a byte in `notes`."""

    def decode() -> Image:
        with notes.open("ab") as stream:
            stream.write(b".")
        return decoded()

    assert np.array_equal(kept(file, decode), decoded())


@pytest.mark.parametrize("moment", ["decoding", "half", "written"])
def test_a_process_killed_while_it_decodes_leaves_no_entry(tmp_path: Path, moment: str) -> None:
    file = tmp_path / "cache" / "entry.npy"
    process = PROCESSES.Process(target=die, args=(moment, file))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == KILLED
    assert not file.exists()
    assert np.array_equal(kept(file, decoded), decoded())
    assert [path.name for path in file.parent.iterdir()] == ["entry.npy"], "its part was taken over"


def test_two_processes_decode_once(tmp_path: Path) -> None:
    file, notes = tmp_path / "entry.npy", tmp_path / "notes"
    both = [PROCESSES.Process(target=make_noted, args=(file, notes)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    assert notes.read_bytes() == b"." and sorted(path.name for path in tmp_path.iterdir()) == ["entry.npy", "notes"]


def test_an_entry_is_mapped_and_never_made_again(tmp_path: Path) -> None:
    first = kept(tmp_path / "entry.npy", decoded)
    assert isinstance(first, np.memmap) and not first.flags.writeable
    second = kept(tmp_path / "entry.npy", lambda: pytest.fail("it is there"))
    assert np.array_equal(first, second)


def test_a_full_disk_is_named_and_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(written: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture_cache.os, "fsync", full)
    with pytest.raises(DataError, match="entry.npy: No space left on device while decoded pictures were kept; free some space"):
        kept(tmp_path / "entry.npy", decoded)
    assert not (tmp_path / "entry.npy").exists()
    monkeypatch.undo()
    assert np.array_equal(kept(tmp_path / "entry.npy", decoded), decoded())


def test_pictures_of_another_size_have_another_name_though_their_bytes_are_the_same() -> None:
    grey = np.full((2, 4, 6, 3), 7, np.uint8)
    assert digest_of(grey) == digest_of(grey.copy()) != digest_of(grey.reshape(2, 6, 4, 3))
