"""Blocks in shared memory: no torn read, none that fails while another is written, stale files replaced, death noticed."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from drivers import shared_block
from drivers.shared_block import FOLDER, SharedFile
from robot_stack.errors import DriverError


@pytest.fixture
def owner(name: str) -> Iterator[SharedFile]:
    shared = SharedFile.create(name, {"says": "hello"}, {"small": 16, "big": 40_000})
    shared.publish()
    yield shared
    shared.close()


def test_a_client_reads_the_header_and_what_was_written(owner: SharedFile, name: str) -> None:
    owner.block("small").write(b"abc")
    client = SharedFile.connect(name)
    found = client.block("small").read()
    assert client.header["says"] == "hello"
    assert found is not None
    assert found[1].rstrip(b"\0") == b"abc"
    client.close()


def test_what_was_seen_is_not_read_again(owner: SharedFile) -> None:
    block = owner.block("small")
    assert block.read() is None
    block.write(b"x")
    found = block.read()
    assert found is not None
    assert block.read(found[0]) is None


def test_a_read_is_never_torn_while_the_writer_goes_on(owner: SharedFile, name: str) -> None:
    writer = owner.block("big")
    writer.write(b"\0" * 40_000)
    if (child := os.fork()) == 0:
        value = 0
        while True:
            value = (value + 1) % 256
            writer.write(bytes([value]) * 40_000)
            time.sleep(0.0001)
    client = SharedFile.connect(name)
    reader, payloads = client.block("big"), []
    until = time.monotonic() + 30
    while len({p[0] for p in payloads}) < 50 and time.monotonic() < until:
        if (found := reader.read()) is not None:
            payloads.append(found[1])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    client.close()
    assert len({p[0] for p in payloads}) >= 50
    assert all(p.count(p[0]) == len(p) for p in payloads)


def test_a_writer_that_is_put_aside_or_dies_in_a_write_leaves_the_value_before_it(
    owner: SharedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = owner.block("small")
    for value in (b"a", b"b"):
        block.write(value)
    before = block.read()
    assert before is not None and before[1].rstrip(b"\0") == b"b"

    def interrupt(payload: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shared_block.zlib, "crc32", interrupt)  # asked for when the payload is there
        block.write(b"c")
    assert block.read() == before and block.read(before[0]) is None
    block.write(b"d")
    after = block.read(before[0])
    assert after is not None and after[1].rstrip(b"\0") == b"d"


def test_a_damaged_payload_is_not_returned(owner: SharedFile) -> None:
    block = owner.block("small")
    block.write(b"x")
    for slot in block._slots:
        block._memory[slot + 16] = 7
    assert block.read() is None


def test_a_payload_too_long_is_refused(owner: SharedFile) -> None:
    with pytest.raises(DriverError, match="allowed 16"):
        owner.block("small").write(b"x" * 17)


def test_a_name_in_use_is_refused(owner: SharedFile, name: str) -> None:
    with pytest.raises(DriverError, match="already running"):
        SharedFile.create(name, {}, {"small": 8})
    assert owner.alive()


def test_an_unknown_block_names_the_known_ones(owner: SharedFile) -> None:
    with pytest.raises(DriverError, match="small"):
        owner.block("nope")


def test_a_stale_file_of_a_killed_owner_is_refused_by_clients_and_replaced_by_the_next_owner(name: str) -> None:
    if (child := os.fork()) == 0:
        SharedFile.create(name, {"run": 1}, {"small": 8}).publish()
        os._exit(9)
    os.waitpid(child, 0)
    assert (FOLDER / f"robot_stack.{name}").exists()
    with pytest.raises(DriverError, match="dead"):
        SharedFile.connect(name)
    again = SharedFile.create(name, {"run": 2}, {"small": 8})
    again.publish()
    client = SharedFile.connect(name)
    assert client.header["run"] == 2
    client.close()
    again.close()
    assert not (FOLDER / f"robot_stack.{name}").exists()


def test_old_leftovers_of_killed_owners_are_swept_and_the_living_are_not(owner: SharedFile, name: str) -> None:
    leftover = FOLDER / f"robot_stack.{name}.leftover"
    leftover.write_bytes(b"")
    for path in (leftover, owner.path):
        os.utime(path, (0, 0))
    SharedFile.create(f"{name}.other", {}, {"small": 8}).close()
    assert not leftover.exists()
    assert owner.path.exists()
