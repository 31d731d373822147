import sqlite3

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.log_index import facts_of
from robot_stack.data.log_reader import read_log
from robot_stack.data.recording import ACTION, STATE
from robot_stack.data.repair import repair
from robot_stack.data.rosbags_messages import make, serialize_cdr, typestore
from robot_stack.data.wire_scalars import header
from robot_stack.errors import DataError
from tests.data.made_up import picture, write_teleop

MS = 1_000_000


def bag(path, storage, joints=("a", "b"), turned_at=None, version=9, camera="sensor_msgs/msg/Image"):
    """What another program records: 50 Hz joints, 50 Hz trajectories, 10 Hz pictures in bgr8, one depth camera."""
    writer = Writer(path, version=version, storage_plugin=storage)
    with writer:
        topics = {
            "/arm/joint_states": "sensor_msgs/msg/JointState",
            "/arm/plan": "trajectory_msgs/msg/JointTrajectory",
            "/front/image_raw": camera,
            "/front/depth": "sensor_msgs/msg/Image",
        }
        open_ = {topic: writer.add_connection(topic, kind, typestore=typestore()) for topic, kind in topics.items()}
        for i in range(100):
            t = 10**18 + i * 20 * MS
            order = tuple(reversed(joints)) if i == turned_at else joints
            q = np.array([-float(i), float(i)] if i == turned_at else [float(i), -float(i)])
            nothing = np.zeros(0)
            state = make(
                topics["/arm/joint_states"],
                header=header(make, t),
                name=list(order),
                position=q,
                velocity=nothing,
                effort=nothing,
            )
            writer.write(open_["/arm/joint_states"], t + 5 * MS, serialize_cdr(state))
            point = make(
                "trajectory_msgs/msg/JointTrajectoryPoint",
                positions=np.array([i + 0.5, -i - 0.5]),
                velocities=nothing,
                accelerations=nothing,
                effort=nothing,
                time_from_start=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
            )
            plan = make(topics["/arm/plan"], header=header(make, 0), joint_names=list(joints), points=[point])
            writer.write(open_["/arm/plan"], t, serialize_cdr(plan))
            if i % 5 == 0:
                writer.write(open_["/front/image_raw"], t, serialize_cdr(image(t, i, "bgr8")))
                writer.write(open_["/front/depth"], t, serialize_cdr(image(t, i, "16UC1")))
    return path


def image(t_ns, i, encoding):
    rgb = picture(i, 4, 6)
    data = rgb[:, :, ::-1] if encoding == "bgr8" else rgb[:, :, :2]
    step = data.shape[1] * data.shape[2]
    return make(
        "sensor_msgs/msg/Image",
        header=header(make, t_ns, "front"),
        height=4,
        width=6,
        encoding=encoding,
        is_bigendian=0,
        step=step,
        data=np.ascontiguousarray(data).reshape(-1),
    )


def read(path, rate_hz=30.0):
    catalogue = Catalogue.open(path, rate_hz)
    (entry,) = catalogue.entries()
    return entry, catalogue.recording(entry)


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("version", [8, 9])
def test_a_bag_of_another_program_is_read(tmp_path, storage, version):
    entry, found = read(bag(tmp_path / "bag", storage, version=version), 10.0)
    assert (entry.name, entry.rate_hz, entry.note) == ("bag", 10.0, "") and abs(entry.rows - len(found)) <= 1
    assert found.columns[STATE][:, 0].tolist() == [5.0 * i for i in range(len(found))]
    assert found.columns[ACTION][:, 1].tolist() == [-5.0 * i - 0.5 for i in range(len(found))]
    assert found.names == {STATE: ("a", "b"), ACTION: ("a", "b")}
    assert found.columns["t_ns"][:2].tolist() == [10**18, 10**18 + 100 * MS]
    assert list(found.cameras) == ["front"], "depth has no colours"
    pictures = list(found.cameras["front"])
    assert all(np.array_equal(p, picture(5 * i, 4, 6)) for i, p in enumerate(pictures)) and len(pictures) == len(found)


def test_a_row_for_each_message_keeps_its_stamps(tmp_path):
    _, found = read(bag(tmp_path / "bag", StoragePlugin.MCAP), 0.0)
    assert found.columns["t_ns"].tolist() == [10**18 + i * 20 * MS for i in range(100)] and found.rate_hz == 50.0


def test_joints_in_another_order_are_put_back_in_order(tmp_path):
    _, found = read(bag(tmp_path / "bag", StoragePlugin.MCAP, turned_at=40), 0.0)
    assert found.columns[STATE][40].tolist() == [40.0, -40.0]


def test_a_bag_without_joints_says_what_it_has(tmp_path):
    with Writer(tmp_path / "bag", version=9) as writer:
        to = writer.add_connection("/front", "sensor_msgs/msg/Image", typestore=typestore())
        writer.write(to, 5, serialize_cdr(image(5, 0, "rgb8")))
    with pytest.raises(DataError, match=r"found no JointState topic among \['/front'\]"):
        read(tmp_path / "bag")


def test_a_folder_of_logs_and_bags_is_one_catalogue(tmp_path):
    write_teleop(tmp_path / "demo_10")
    write_teleop(tmp_path / "demo_2", camera=False)
    bag(tmp_path / "demo_3", StoragePlugin.SQLITE3)
    entries = list(Catalogue.open(tmp_path).entries())
    assert [(e.name, e.rows, e.task) for e in entries] == [("demo_2", 36, "Go."), ("demo_3", 60, ""), ("demo_10", 36, "Go.")]


def test_the_facts_of_a_log_come_from_its_ends(tmp_path):
    facts = facts_of(write_teleop(tmp_path / "one"))
    assert (facts.foreign, facts.task, facts.note, facts.messages["/joint_states"]) == (False, "Go.", "", 120)
    assert facts.seconds == pytest.approx(1.19) and facts.ticks_hz == pytest.approx(100, rel=0.02)


def in_small_chunks(source, path, monkeypatch):
    """The same messages, a few in each chunk."""
    with monkeypatch.context() as patch:
        patch.setattr("robot_stack.data.repair.CHUNK_BYTES", 2048)
        repair(source, path)
    return path


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.999])
def test_a_cut_mcap_file_of_another_program_is_repaired(tmp_path, keep, monkeypatch):
    (file,) = in_small_chunks(bag(tmp_path / "first", StoragePlugin.MCAP), tmp_path / "bag", monkeypatch).glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    (file.parent / "metadata.yaml").unlink()
    (entry,) = Catalogue.open(tmp_path / "bag").entries()
    assert "robot-stack data repair" in entry.note
    found = repair(tmp_path / "bag", tmp_path / "whole")
    assert any("ends near byte" in line for line in found.lost)
    entry, again = read(tmp_path / "whole", 0.0)
    assert entry.note == "" and again.columns[STATE][:, 0].tolist() == list(range(len(again)))
    assert len(again) == found.messages["/arm/joint_states"] > 60 * keep


def test_a_damaged_chunk_is_skipped(tmp_path, monkeypatch):
    (file,) = in_small_chunks(write_teleop(tmp_path / "first"), tmp_path / "log", monkeypatch).glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(bytes(data))
    found = repair(file.parent, tmp_path / "whole")
    assert "is damaged" in found.lost[0] and 60 < found.messages["/arm/verdict"] < 120
    assert read_log(tmp_path / "whole").complete and read_log(tmp_path / "whole").metadata.robot == "sim_arm"


def test_a_cut_sqlite_bag_is_saved_as_far_as_it_can_be_read(tmp_path):
    (file,) = bag(tmp_path / "bag", StoragePlugin.SQLITE3).glob("*.db3")
    with sqlite3.connect(file) as database:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    file.write_bytes(file.read_bytes()[: pages * 3 // 4 * size])
    found = repair(tmp_path / "bag", tmp_path / "whole")
    assert found.messages["/arm/joint_states"] > 20 and found.lost
    _, again = read(tmp_path / "whole", 0.0)
    assert again.columns[STATE][:, 0].tolist() == list(range(len(again)))


def test_a_repair_leaves_the_source_and_other_folders_alone(tmp_path):
    path = write_teleop(tmp_path / "log")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    repair(path, tmp_path / "whole")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    with pytest.raises(DataError, match="exists, allowed a new folder"):
        repair(path, tmp_path / "whole")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no .mcap or .db3 file"):
        repair(tmp_path / "empty", tmp_path / "new")
    (tmp_path / "empty/x.mcap").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="found no whole message"):
        repair(tmp_path / "empty", tmp_path / "new")
    assert not (tmp_path / "new").exists()
