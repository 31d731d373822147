"""The file under a log: brought to the disk by a thread of its own, and what becomes of a disk that fails."""

import errno
import os
import threading
from pathlib import Path

import pytest

from robot_stack.data import log_file
from robot_stack.data.log_file import LogFile

PATIENCE_S = 60.0


def test_a_closed_chunk_is_brought_to_the_disk_by_a_thread_that_no_writing_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, who = threading.Event(), threading.Event(), list[str]()

    def slow(descriptor: int) -> None:
        who.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(PATIENCE_S)

    monkeypatch.setattr(log_file.os, "fdatasync", slow)
    file = LogFile(tmp_path / "log.mcap")
    file.write(b"a chunk")
    file.flush()
    assert begun.wait(PATIENCE_S)
    file.write(b" and more")
    go_on.set()
    file.close()
    assert (tmp_path / "log.mcap").read_bytes() == b"a chunk and more" and who == ["log-sync"]


def test_a_disk_that_fails_to_sync_is_an_error_of_the_next_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def broken(descriptor: int) -> None:
        failed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(log_file.os, "fdatasync", broken)
    file = LogFile(tmp_path / "log.mcap")
    file.flush()
    assert failed.wait(PATIENCE_S)
    with pytest.raises(OSError, match="Input/output error"):
        while True:
            file.flush()
    file.close()


def test_the_room_held_back_has_no_name_and_is_given_back(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.mcap")
    assert [path.name for path in tmp_path.iterdir()] == ["log.mcap"]
    file.close()
