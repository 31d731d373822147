import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2 import Reader

from robot_stack.config.schema import SafetySettings
from robot_stack.data.compare import difference
from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.data.log_reader import Refused
from robot_stack.data.rosbags_messages import make, serialize_cdr
from robot_stack.data.wire import to_message
from robot_stack.errors import ContractError, DataError
from robot_stack.types import (
    ActionChunk,
    CameraFrame,
    Decision,
    JointCommand,
    JointState,
    Mode,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
)

METADATA = LogMetadata("sim_arm", ("a", "b"), scenario="nominal", settings={"safety": SafetySettings(clear_s=0.7)})
REPOSITORY = Path(__file__).parents[2]


def episode(count=50):
    """(topic, t_ns, value) of a small made-up episode: every tick a state, every tenth a chunk and a picture."""
    rng = np.random.default_rng(0)
    for i in range(count):
        t = 10_000_000 * i
        state = JointState(t, rng.normal(size=2), rng.normal(size=2))
        chunk = ActionChunk(t, t, 50_000_000, rng.normal(size=(4, 2)), "flow") if i % 10 == 0 else None
        command = SafeCommand(JointCommand(t, rng.normal(size=2), np.zeros(2)))
        verdict = SafetyVerdict(t, Mode.POLICY, Decision.PASS, None, command)
        yield "/joint_states", t, state
        yield "/arm/verdict", t, Step(t, 3, TickInputs(joints=state, chunk=chunk), verdict)
        if chunk is not None:
            yield "/policy/chunk", t, chunk
            yield "/scene/image", t, CameraFrame("scene", t, rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))


def write(path, values=None):
    with LogWriter(path, METADATA) as log:
        for topic, t, value in values or episode():
            log.write_value(topic, t, value)
    return path


def test_what_is_written_is_read_back_bit_for_bit_and_in_order(tmp_path):
    found = list(read_log(write(tmp_path / "log")).iterate())
    assert difference(found, list(episode())) is None


def test_a_tick_finds_its_chunk_even_when_the_chunk_was_recorded_later(tmp_path):
    steps = list(read_log(write(tmp_path / "log")).steps())
    assert [i for i, s in enumerate(steps) if s.inputs.chunk is not None] == [0, 10, 20, 30, 40]


def test_metadata_and_counts_come_back(tmp_path):
    log = read_log(write(tmp_path / "log"))
    assert log.complete
    assert (log.metadata.robot, log.metadata.joint_names, log.metadata.scenario) == ("sim_arm", ("a", "b"), "nominal")
    assert SafetySettings(**log.metadata.settings["safety"]) == SafetySettings(clear_s=0.7)
    assert log.summary.messages == {"/joint_states": 50, "/arm/verdict": 50, "/policy/chunk": 5, "/scene/image": 5}
    assert log.summary.drops == {}


def test_rosbags_reads_the_log(tmp_path):
    with Reader(write(tmp_path / "log")) as bag:
        rows = [(c.topic, c.msgtype, t) for c, t, _ in bag.messages()]
    assert len(rows) == 110
    assert ("/arm/verdict", "diagnostic_msgs/msg/DiagnosticArray", 490_000_000) in rows


def test_mcap_tools_read_the_log_and_its_schemas(tmp_path):
    with next(write(tmp_path / "log").glob("*.mcap")).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        decoded = [m for _, _, _, m in reader.iter_decoded_messages(topics=["/policy/chunk"])]
        assert reader.get_header().profile == "ros2"
    chunk = next(v for t, _, v in episode() if t == "/policy/chunk")
    assert list(decoded[0].points[1].positions) == chunk.q[1].tolist()


def test_a_log_cut_anywhere_gives_a_prefix_or_says_it_is_too_short(tmp_path):
    whole = next(write(tmp_path / "log").glob("*.mcap")).read_bytes()
    names = [(topic, t) for topic, t, _ in episode()]
    cut = tmp_path / "cut.mcap"
    for size in [*range(0, 900, 7), *range(900, len(whole), 311)]:
        cut.write_bytes(whole[:size])
        try:
            log = read_log(cut)
        except DataError as error:
            assert size < 900 and "cut too early" in str(error)
            continue
        found = [(topic, t) for topic, t, _ in log.iterate()]
        assert found == names[: len(found)]
        assert len(list(log.steps())) <= 50


def test_a_log_cut_after_its_last_chunk_loses_no_message(tmp_path):
    whole = next(write(tmp_path / "log").glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[:-100])
    log = read_log(cut)
    assert not log.complete
    assert len(list(log.iterate())) == 110


def test_a_flipped_bit_in_a_whole_log_is_reported(tmp_path):
    path = next(write(tmp_path / "log").glob("*.mcap"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged near byte"):
        list(read_log(path).iterate())


def test_a_file_that_is_no_log_is_named(tmp_path):
    (tmp_path / "x.mcap").write_text("hello, this is no log at all")
    with pytest.raises(DataError, match="without robot_stack's metadata"):
        read_log(tmp_path / "x.mcap")
    with pytest.raises(DataError, match="no such folder"):
        read_log(tmp_path / "absent")


def test_a_log_is_never_overwritten(tmp_path):
    write(tmp_path / "log")
    with pytest.raises(DataError, match="never overwritten"):
        LogWriter(tmp_path / "log", METADATA)


def test_a_topic_that_is_none_of_ours_is_refused(tmp_path):
    with LogWriter(tmp_path / "log", METADATA) as log, pytest.raises(ContractError, match="/rosout"):
        log.write("/rosout", 0, b"")


def test_messages_beyond_the_buffer_are_dropped_and_counted(tmp_path):
    data = serialize_cdr(to_message(next(v for t, _, v in episode() if t == "/joint_states"), make, ("a", "b")))
    log = LogWriter(tmp_path / "log", METADATA, buffer_bytes=len(data) - 1)
    log.write("/joint_states", 0, data)
    assert log.close().drops == {"/joint_states": 1}
    assert read_log(tmp_path / "log").summary.drops == {"/joint_states": 1}


def test_a_chunk_of_other_joints_in_the_log_comes_as_refused(tmp_path):
    chunk = ActionChunk(0, 0, 1, np.zeros((2, 2)), "flow")
    with LogWriter(tmp_path / "log", METADATA) as log:
        log.write("/policy/chunk", 0, serialize_cdr(to_message(chunk, make, ("b", "a"))))
    ((_, _, value),) = read_log(tmp_path / "log").iterate()
    assert isinstance(value, Refused) and "another order" in value.why


def test_a_tick_without_its_chunk_in_a_whole_log_is_reported(tmp_path):
    values = [v for v in episode() if v[0] != "/policy/chunk"]
    with pytest.raises(DataError, match="were the chunk topics recorded"):
        list(read_log(write(tmp_path / "log", values)).steps())


@pytest.mark.parametrize(("lost", "error"), [(400_000_000, None), (200_000_000, "were the chunk topics recorded")])
def test_a_cut_log_ends_before_a_chunk_lost_at_its_end_but_not_in_its_middle(tmp_path, lost, error):
    values = [v for v in episode() if not (v[0] == "/policy/chunk" and v[1] == lost)]
    path = next(write(tmp_path / "log", values).glob("*.mcap"))
    path.write_bytes(path.read_bytes()[:-10])
    if error is None:
        assert [s.t_ns for s in read_log(path).steps()][-1] == lost - 10_000_000
        return
    with pytest.raises(DataError, match=error):
        list(read_log(path).steps())


def test_a_full_disk_is_reported_and_what_was_written_is_readable(tmp_path):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng = np.random.default_rng(0)
    log = LogWriter(tmp_path / "log", METADATA)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, old[1]))
    try:
        with pytest.raises(DataError, match="File too large after 3000000 bytes"):
            for i in range(100_000):
                log.write_value("/scene/image", i, CameraFrame("scene", i, rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)))
        with pytest.raises(DataError, match="free some space"):
            log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    found = [t for _, t, _ in read_log(tmp_path / "log").iterate()]
    assert found == list(range(len(found))) and len(found) >= 5


KILLED = """
    import sys, time, numpy as np
    from pathlib import Path
    from robot_stack.data.log import LogWriter, LogMetadata
    from robot_stack.types import JointState
    log = LogWriter(Path(sys.argv[1]), LogMetadata("sim_arm", ("a",)))
    for i in range(100_000):
        log.write_value("/joint_states", time.monotonic_ns(), JointState(i, np.zeros(1), np.zeros(1)))
        if i % 100 == 0:
            print(time.monotonic_ns(), flush=True)
        time.sleep(0.001)
"""


def test_a_killed_recorder_loses_at_most_one_second(tmp_path):
    path = tmp_path / "log"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    stamps = [int(child.stdout.readline()) for _ in range(15)]
    child.send_signal(signal.SIGKILL)
    child.wait()
    stamps += [int(line) for line in child.stdout.read().split()]
    log = read_log(path)
    assert not log.complete
    last = max(t for _, t, _ in log.iterate())
    assert stamps[-1] - last < 1_000_000_000


def test_the_metadata_record_is_plain_json(tmp_path):
    with next(write(tmp_path / "log").glob("*.mcap")).open("rb") as file:
        record = next(r for r in make_reader(file).iter_metadata() if r.name == "robot_stack")
    assert json.loads(record.metadata["settings"])["safety"]["clear_s"] == 0.7
