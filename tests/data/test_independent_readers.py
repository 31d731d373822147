"""What we write, read by programs that know nothing of us, number by number: rosbags, mcap, robomimic, LeRobot, Rerun."""

import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")
pytest.importorskip("av", reason="needs av: pip install 'robot_stack[train]'")

from mcap.reader import NonSeekingReader, make_reader
from mcap.records import Channel, Chunk, DataEnd, Footer, Header, Message, MessageIndex, Schema
from mcap.stream_reader import StreamReader, breakup_chunk, get_chunk_data_stream
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.log_source import write_log
from robot_stack.data.recording import ACTION, STATE, Clip
from robot_stack.data.video import iterate_clip
from robot_stack.datasets.convert import convert
from robot_stack.datasets.rerun_view import open_in_rerun
from tests.data.made_up import JOINTS, START, TICK, picture, recording, write_teleop

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
G1 = SHARED / "g1_bottle"
CAMERA = "observation.images."


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two logs: one recorded by the robot, one imported from a dataset."""
    folder = tmp_path_factory.mktemp("logs")
    write_teleop(folder / "robot")
    write_log(recording("one", 40, seed=1), folder / "imported")
    return folder


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Three episodes of two tasks with one camera, as a LeRobot v3 dataset."""
    folder = tmp_path_factory.mktemp("made")
    for name, rows, seed, task in (("one", 40, 1, "Stack."), ("two", 30, 2, "Sort."), ("three", 25, 3, "Stack.")):
        write_log(recording(name, rows, seed=seed, task=task), folder / "logs" / name)
    convert(Catalogue.open(folder / "logs"), folder / "v3", "lerobot-v3")
    return folder / "v3"


def recordings(root):
    catalogue = Catalogue.open(root)
    return [catalogue.recording(entry) for entry in catalogue.entries()]


def mcap_of(log):
    (file,) = log.glob("*.mcap")
    return file


def test_rosbags_reads_every_number_and_pixel_the_robot_recorded(logs):
    rows = {"/joint_states": [], "/arm/verdict": [], "/scene/image": []}
    with AnyReader([logs / "robot"]) as reader:
        for connection, t_ns, data in reader.messages():
            rows[connection.topic].append((t_ns, reader.deserialize(data, connection.msgtype)))
    assert {topic: len(found) for topic, found in rows.items()} == {"/joint_states": 120, "/arm/verdict": 120, "/scene/image": 30}
    for i, (t_ns, state) in enumerate(rows["/joint_states"]):
        assert (t_ns, stamp(state)) == (START + i * TICK, START + i * TICK - 1) and tuple(state.name) == JOINTS
        assert state.position.tolist() == [np.sin(i / 30) + 1e-9, np.cos(i / 20) + 1e-9, i / 1000 + 1e-9]
    for i, (_, message) in enumerate(rows["/scene/image"]):
        assert stamp(message) == START + 4 * i * TICK - 3_000_000
        assert np.array_equal(pixels(message), picture(4 * i))


def stamp(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def pixels(message):
    if hasattr(message, "format"):
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width, 3)


def test_the_mcap_library_and_its_own_decoder_read_an_imported_log(logs):
    before = recording("one", 40, seed=1)
    found = {STATE: [], ACTION: [], "top": []}
    topics = {"/joint_states": STATE, "/arm/command": ACTION, "/top/image": "top"}
    with mcap_of(logs / "imported").open("rb") as file:
        for decoded in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages(topics=list(topics)):
            found[topics[decoded.channel.topic]].append((decoded.message.log_time, decoded.decoded_message))
    for column in (STATE, ACTION):
        read = np.array([list(message.position) for _, message in found[column]])
        assert np.array_equal(read.astype(np.float32), before.columns[column])
        times = np.array([t_ns for t_ns, _ in found[column]])
        assert np.array_equal(times - times[0], np.round(before.times_s() * 1e9).astype(np.int64))
    pictures = zip(found["top"], before.cameras["top"], strict=True)
    assert all(np.array_equal(pixels(message), rgb) for (_, message), rgb in pictures)


def ailments(file):
    """What `mcap doctor` looks for, by the records of the mcap library: checksums, order, indices, statistics, the end."""
    whole = file.read_bytes()
    schemas, channels, counts, chunks, found = set(), {}, {}, [], []
    with file.open("rb") as stream:
        records = list(StreamReader(stream, emit_chunks=True, validate_crcs=True).records)
    if not isinstance(records[0], Header) or not isinstance(records[-1], Footer):
        found.append("no header, or no footer")
    end = next(i for i, record in enumerate(records) if isinstance(record, DataEnd))
    for record in records[:end]:
        for inner in breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]:
            match inner:
                case Schema():
                    schemas.add(inner.id)
                case Channel():
                    found += [f"channel {inner.topic} before its schema"] if inner.schema_id not in schemas else []
                    channels[inner.id] = inner.topic
                case Message():
                    found += ["message before its channel"] if inner.channel_id not in channels else []
                    counts[inner.channel_id] = counts.get(inner.channel_id, 0) + 1
        if isinstance(record, Chunk):
            times = [m.log_time for m in breakup_chunk(record) if isinstance(m, Message)]
            chunks.append((min(times), max(times)))
            found += ["times of a chunk"] if chunks[-1] != (record.message_start_time, record.message_end_time) else []
            inside = get_chunk_data_stream(record)[0]._stream.getvalue()
        elif isinstance(record, MessageIndex):
            for t_ns, offset in record.records:
                said = (record.channel_id.to_bytes(2, "little"), t_ns.to_bytes(8, "little"))
                there = (inside[offset + 9 : offset + 11], inside[offset + 15 : offset + 23])
                found += ["index of messages"] if inside[offset] != 5 or there != said else []
    return found + summary_ailments(file, whole, records[-1], counts, chunks)


def summary_ailments(file, whole, footer, counts, chunks):
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    statistics = summary.statistics
    found = ["statistics"] if {k: n for k, n in statistics.channel_message_counts.items() if n} != counts else []
    found += ["count"] if (statistics.message_count, statistics.chunk_count) != (sum(counts.values()), len(chunks)) else []
    found += ["span"] if statistics.message_end_time != max(last for _, last in chunks) else []
    found += ["index"] if [(c.message_start_time, c.message_end_time) for c in summary.chunk_indexes] != chunks else []
    for index in summary.chunk_indexes:
        length = int.from_bytes(whole[index.chunk_start_offset + 1 : index.chunk_start_offset + 9], "little")
        if whole[index.chunk_start_offset] != 6 or length + 9 != index.chunk_length:
            found.append("place of a chunk")
    if footer.summary_crc and zlib.crc32(whole[footer.summary_start : -12]) != footer.summary_crc:
        found.append("checksum of the summary")
    return found


@pytest.mark.parametrize("name", ["robot", "imported"])
def test_a_log_is_in_good_health_by_the_mcap_library(logs, name, tmp_path):
    assert ailments(mcap_of(logs / name)) == []
    whole = bytearray(mcap_of(logs / name).read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "hurt.mcap").write_bytes(whole)
    with pytest.raises(Exception, match="crc|corrupt|Data corruption|decompress"):
        assert ailments(tmp_path / "hurt.mcap") == []


def test_seeking_and_streaming_find_the_same_messages_of_a_second(logs):
    span = {"starting_at": START + 300_000_000, "ending_before": START + 900_000_000}
    with mcap_of(logs / "robot").open("rb") as file:
        seeking = [(c.topic, m.log_time, m.data) for _, c, m in make_reader(file).iter_messages(**span)]
        file.seek(0)
        streaming = [(c.topic, m.log_time, m.data) for _, c, m in NonSeekingReader(file).iter_messages(**span)]
    assert sorted(seeking) == sorted(streaming) and len(seeking) == 60 + 60 + 15


@pytest.fixture(scope="module")
def rerun():
    """The readers of Rerun, which are written in Rust."""
    pytest.importorskip("rerun", reason="needs rerun: pip install 'robot_stack[rerun]'")
    from rerun import chunk, experimental

    return {"rrd": chunk.RrdReader, "mcap": chunk.McapReader, "lerobot": experimental.LeRobotReader}


def numbers(chunks, path, column="Scalars:scalars"):
    """What lies at `path`, row by row."""
    found = [c.to_record_batch() for c in chunks if c.entity_path == path]
    return [row for batch in found if column in batch.schema.names for row in batch.column(column).to_pylist()]


def assert_scalars(chunks, paths, before):
    for path, column in paths.items():
        assert np.array_equal(np.array(numbers(chunks, path)).astype(np.float32), before.columns[column])


def test_rerun_reads_the_recording_it_was_given(rerun, logs, tmp_path):
    assert open_in_rerun(Catalogue.open(logs), ["imported"], 5, str(tmp_path / "seen.rrd")) == []
    before, chunks = recording("one", 40, seed=1), list(rerun["rrd"](tmp_path / "seen.rrd").store().stream())
    assert_scalars(chunks, {"/imported/observation/state": STATE, "/imported/action": ACTION}, before)
    blobs = [bytes(row[0]) for row in numbers(chunks, "/imported/top", "EncodedImage:blob")]
    images = [cv2.cvtColor(cv2.imdecode(np.frombuffer(b, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for b in blobs]
    assert len(images) == 40 and min(psnr(a, b) for a, b in zip(images, before.cameras["top"], strict=True)) > 33


def test_rerun_reads_our_logs_as_they_are(rerun, logs):
    before, chunks = recording("one", 40, seed=1), list(rerun["mcap"](mcap_of(logs / "imported")).stream())
    assert_scalars(chunks, {"/joint_states/position": STATE, "/arm/command/position": ACTION}, before)
    buffers = numbers(chunks, "/top/image", "Image:buffer")
    pictures = zip(buffers, before.cameras["top"], strict=True)
    assert all(np.array_equal(np.array(buffer[0], np.uint8).reshape(rgb.shape), rgb) for buffer, rgb in pictures)


@pytest.mark.parametrize("to", ["lerobot-v3", "lerobot-v2.1"])
def test_rerun_reads_both_versions_of_lerobots_format(rerun, made_up, tmp_path, to):
    convert(Catalogue.open(made_up), tmp_path / "set", to)
    reader, before = rerun["lerobot"](tmp_path / "set"), recordings(made_up)
    assert reader.episodes() == [0, 1, 2]
    for episode, found in enumerate(before):
        chunks = list(reader.stream(episode))
        assert_scalars(chunks, {f"/{STATE}": STATE, f"/{ACTION}": ACTION}, found)
        assert {row[0] for row in numbers(chunks, "/task", "TextDocument:text")} == {found.task}
        assert len(numbers(chunks, f"/{CAMERA}top", "VideoStream:sample")) == len(found)


class VideoReader:
    """What torchvision.io.VideoReader was until torchvision dropped it, as far as LeRobot calls it."""

    def __init__(self, path, kind):
        import av

        self.container = av.open(path)
        self.stream = self.container.streams.video[0]

    def seek(self, time_s, keyframes_only):
        self.container.seek(round(time_s / self.stream.time_base), stream=self.stream, any_frame=not keyframes_only)

    def __iter__(self):
        import torch

        for frame in self.container.decode(self.stream):
            rgb = torch.as_tensor(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield {"pts": float(frame.pts * frame.time_base), "data": rgb}


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory):
    """LeRobot's datasets module, offline, with a reader of videos where torchvision has none any more."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path_factory.mktemp("huggingface"))}
    reason = "needs LeRobot: pip install --no-deps lerobot==0.4.4, and its companions in constraints.txt"
    pytest.importorskip("lerobot", reason=reason)
    from policies.adapters.operators import import_torchvision

    torchvision = import_torchvision()
    if not hasattr(torchvision.io, "VideoReader"):
        torchvision.io.VideoReader, torchvision.set_video_backend = VideoReader, lambda name: None
    from lerobot.datasets import lerobot_dataset

    return lerobot_dataset


def opened(lerobot, root, **options):
    return lerobot.LeRobotDataset(f"local/{root.name}", root=root, video_backend="pyav", **options)


def compare(dataset, before, stride):
    """Every number of every row, and every `stride`-th picture. Returns rows, pictures and the worst PSNR (dB) of a picture."""
    rows, pictures, worst = dataset.hf_dataset.with_format("numpy"), 0, np.inf
    assert (dataset.num_episodes, dataset.num_frames) == (len(before), sum(len(r) for r in before))
    first = 0
    for episode, found in enumerate(before):
        part = rows[first : first + len(found)]
        for name, values in found.columns.items():
            assert np.array_equal(np.asarray(part[name]).reshape(values.shape), values), f"{found.name} {name}"
        assert set(part["episode_index"].tolist()) == {episode}
        for camera, film in found.cameras.items():
            for i, rgb in enumerate(iterate_clip(film) if isinstance(film, Clip) else film):
                if i % stride == 0:
                    pictures, worst = pictures + 1, min(worst, psnr(item(dataset, first + i, camera, found), rgb))
        first += len(found)
    return first, pictures, worst


def item(dataset, index, camera, found):
    seen = dataset[index]
    assert seen["task"] == found.task
    return np.round(seen[f"{CAMERA}{camera}"].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)


def psnr(a, b):
    error = np.mean((a.astype(float) - b) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def test_lerobots_own_dataset_class_reads_what_we_write(lerobot, made_up):
    dataset = opened(lerobot, made_up)
    assert compare(dataset, recordings(made_up), stride=3) == (95, 33, np.inf)
    originals = [recording("one", 40, seed=1), recording("two", 30, seed=2, task="Sort."), recording("three", 25, seed=3)]
    assert compare(dataset, sorted(originals, key=lambda r: [e.name for e in recordings(made_up)].index(r.name)), 5)[2] > 35
    assert dataset.meta.names[STATE] == list(JOINTS) and dataset.meta.stats[STATE]["count"].tolist() == [95]


def test_lerobot_cuts_chunks_and_chooses_episodes_of_ours(lerobot, made_up):
    before = recordings(made_up)
    dataset = opened(lerobot, made_up, episodes=[1], delta_timestamps={ACTION: [0.0, 0.05, 0.1]})
    assert len(dataset) == len(before[1])
    last = dataset[len(before[1]) - 2]
    assert np.array_equal(last[ACTION].numpy(), before[1].columns[ACTION][[-2, -1, -1]])
    assert last[f"{ACTION}_is_pad"].tolist() == [False, False, True]


def test_lerobots_own_converter_accepts_our_v21(lerobot, made_up, tmp_path):
    from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

    convert(Catalogue.open(made_up), tmp_path / "set", "lerobot-v2.1")
    convert_dataset("set", root=tmp_path, push_to_hub=False)
    assert compare(opened(lerobot, tmp_path / "set"), recordings(made_up), stride=5) == (95, 19, np.inf)


@pytest.mark.slow
@pytest.mark.skipif(not G1.is_dir(), reason=f"no real dataset at {G1} (set ROBOT_STACK_SHARED)")
@pytest.mark.parametrize("to", ["lerobot-v3", "lerobot-v2.1"])
def test_lerobot_reads_a_real_dataset_of_ours_as_it_was(lerobot, tmp_path, to):
    found = convert(Catalogue.open(G1), tmp_path / "set", to)
    if to == "lerobot-v2.1":
        from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

        convert_dataset("set", root=tmp_path, push_to_hub=False)
    rows, pictures, worst = compare(opened(lerobot, tmp_path / "set"), recordings(G1), stride=120)
    assert (found.episodes, rows, worst) == (20, 7182, np.inf) and pictures >= 60


@pytest.fixture(scope="module")
def sequences():
    """robomimic's dataset class, on a file of ours."""
    pytest.importorskip("robomimic", reason="needs robomimic: pip install 'robot_stack[robomimic]'")
    from policies.adapters.operators import import_torchvision

    import_torchvision()
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    def sequence_dataset(file, low, pictures=(), length=10, stacked=1):
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(low), "rgb": list(pictures)}})
        keys = (*low, *pictures)
        columns = ("actions", "rewards", "dones")
        return SequenceDataset(str(file), keys, columns, frame_stack=stacked, seq_length=length, get_pad_mask=True)

    return sequence_dataset


def test_robomimics_own_dataset_class_reads_what_we_write(sequences, made_up, tmp_path):
    convert(Catalogue.open(made_up), tmp_path / "demos.hdf5", "robomimic")
    dataset, before = sequences(tmp_path / "demos.hdf5", ["state"], ["top"]), recordings(made_up)
    assert (dataset.n_demos, len(dataset)) == (3, 95)
    index = 0
    for found in before:
        pictures = np.stack(list(iterate_clip(found.cameras["top"])))
        for i in range(len(found)):
            seen, rows = dataset[index], np.minimum(np.arange(i, i + 10), len(found) - 1)
            assert np.array_equal(seen["actions"], found.columns[ACTION][rows])
            assert np.array_equal(seen["obs"]["state"], found.columns[STATE][rows])
            assert np.array_equal(seen["next_obs"]["state"], found.columns[STATE][np.minimum(rows + 1, len(found) - 1)])
            assert np.array_equal(seen["rewards"], found.columns["next.reward"][rows])
            assert seen["pad_mask"][:, 0].tolist() == (np.arange(i, i + 10) < len(found)).tolist()
            if i % 10 == 0:
                assert np.array_equal(seen["obs"]["top"], pictures[rows])
            index += 1


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real datasets at {SHARED} (set ROBOT_STACK_SHARED)")
def test_robomimic_reads_real_demonstrations_that_went_through_lerobots_format(sequences, tmp_path):
    convert(Catalogue.open(SHARED / "adroit_door"), tmp_path / "v3", "lerobot-v3")
    convert(Catalogue.open(tmp_path / "v3"), tmp_path / "demos.hdf5", "robomimic")
    here, there = (sequences(f, ["state"]) for f in (tmp_path / "demos.hdf5", SHARED / "adroit_door/door_human.hdf5"))
    assert (here.n_demos, len(here)) == (there.n_demos, len(there)) and here.n_demos == 25
    for demo in there.demos:  # their actions reach from -1.28 to 1.37, so robomimic is given scaled ones and these lie beside
        assert np.array_equal(here.get_dataset_for_ep(demo, "actions_exact"), there.get_dataset_for_ep(demo, "actions"))
        assert np.abs(here.get_dataset_for_ep(demo, "actions")[:]).max() < 1.0
        assert np.array_equal(here.get_dataset_for_ep(demo, "obs/state"), there.get_dataset_for_ep(demo, "obs/state"))
