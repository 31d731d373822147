"""TensorBoard's log of a training, read byte by byte as its format is written down, and what a full disk does to it."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from policies.train import train_policy
from policies.watch import EVENTS, Watch
from tests.policies.training_process import SETTINGS, TRAIN, episodes

ALWAYS = {"loss", "lr", "gradient_norm", "samples_per_s", "waiting_share"}


def events(file: Path) -> list[Event]:
    """Records of TFRecord: length (u64), its checksum (u32), the event, its checksum (u32)."""
    data, found, at = file.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += length + 16
    return found


def scalars(found: list[Event]) -> dict[str, dict[int, float]]:
    values: dict[str, dict[int, float]] = {}
    for event in found:
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = value.simple_value
    return values


def test_a_training_leaves_its_figures_for_tensorboard(tmp_path: Path) -> None:
    train_policy(episodes(), SETTINGS, TRAIN, tmp_path)
    (file,) = (tmp_path / EVENTS).iterdir()
    first, start, *rest = events(file)
    assert first.file_version == "brain.Event:2" and start.session_log.status == SessionLog.START
    found = scalars(rest)
    assert found.keys() == ALWAYS | {"held_out_error"}
    assert all(list(values) == [4, 8, 12] for values in found.values())
    assert found["lr"][12] < found["lr"][4] and all(value > 0.0 for value in found["samples_per_s"].values())
    assert all(0.0 <= value <= 1.0 for value in found["waiting_share"].values())


def test_what_a_stopped_run_logged_beyond_its_last_save_is_taken_back_when_it_goes_on(tmp_path: Path) -> None:
    for first in (0, 8):
        watch = Watch(tmp_path, TRAIN, first)
        watch.write(10, loss=1.0)
        watch.close()
    older, newer = sorted((tmp_path / EVENTS).iterdir(), key=lambda file: int(file.name.rpartition(".")[2]))
    assert events(newer)[1].step == 8 and events(newer)[1].session_log.status == SessionLog.START
    assert scalars(events(older)) == scalars(events(newer)) == {"loss": {10: 1.0}}


def test_a_log_that_cannot_be_written_ends_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: EventsWriter, event: Event) -> None:
        if event.step:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(EventsWriter, "write_event", full)
    assert train_policy(episodes(), SETTINGS, TRAIN, tmp_path) == tmp_path
    assert "No space left on device; the training goes on, TensorBoard's log ends at step 4" in capsys.readouterr().out


def test_without_log_every_nothing_is_logged(tmp_path: Path) -> None:
    train_policy(episodes(), SETTINGS, replace(TRAIN, log_every=0, steps=4), tmp_path)
    assert not (tmp_path / EVENTS).exists()
