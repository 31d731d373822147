"""What comes from outside is bounded before it fills the memory, and nothing that runs code when it is read is ever read."""

import ast
import io
import json
import struct
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
import zstandard
from mcap.records import Chunk
from mcap.writer import CompressionType, Writer

from robot_stack.config import plain
from robot_stack.config.schema import SafetySettings
from robot_stack.data.mcap_records import opened, records
from robot_stack.data.rosbags_messages import make
from robot_stack.data.wire import chunk_value, frame_value, score_value, state_value
from robot_stack.data.wire_scalars import header
from robot_stack.errors import ConfigError, ContractError
from robot_stack.size_limits import (
    CHUNK_ROWS,
    IMAGE_BYTES,
    JOINTS,
    LOG_CHUNK_BYTES,
    SCALARS,
    TEXT_BYTES,
    WORDS,
    check_weights,
    parse_json,
    parse_yaml,
    read_text,
)
from safety.barrier import Barrier

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = [path for name in ("robot_stack", "policies", "safety", "drivers", "launch") for path in (ROOT / name).rglob("*.py")]
CODE_IN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def keyword(call: ast.Call, name: str) -> Any:
    found = [k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)]
    return found[0] if found else None


def unsafe(node: ast.AST) -> str:
    """What `node` does that could run code which lies in data; "" when nothing."""
    match node:
        case ast.Import(names=names):
            return " ".join(alias.name for alias in names if alias.name.split(".")[0] in CODE_IN_DATA)
        case ast.ImportFrom(module="pickle", names=[ast.alias(name="UnpicklingError")]):
            return ""  # what torch.load raises with `weights_only`
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in CODE_IN_DATA:
            return module
        case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
            bad = (owner, name) == ("torch", "load") and keyword(node, "weights_only") is not True
            bad |= (owner, name) == ("np", "load") and keyword(node, "allow_pickle") is not False
            bad |= owner == "yaml" and name in ("load", "full_load", "unsafe_load", "load_all")
            return f"{owner}.{name}" if bad else ""
    return ""


@pytest.mark.parametrize(
    "code", ["import pickle", "from dill import loads", "torch.load(f)", "np.load(f)", "yaml.load(f)", "eval(s)"]
)
def test_reading_that_may_run_code_is_noticed(code: str) -> None:
    assert any(unsafe(node) for node in ast.walk(ast.parse(code)))


def all_unsafe(paths: list[Path]) -> list[str]:
    trees = {path: ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in paths}
    return [f"{path}: {found}" for path, nodes in trees.items() for node in nodes if (found := unsafe(node))]


def test_nothing_is_unpickled_and_no_yaml_builds_objects() -> None:
    assert not all_unsafe(PRODUCT)


def test_no_benchmark_unpickles_what_it_has_kept() -> None:
    kept = all_unsafe(list((ROOT / "benchmarks").rglob("*.py")))
    assert not [found for found in kept if not found.endswith("np.load")], "np.load unpickles nothing unless told to"


def message(kind: str, **fields: Any) -> Any:
    return make(kind, header=header(make, 1, fields.pop("frame_id", "")), **fields)


def test_a_chunk_of_too_many_rows_or_joints_is_refused_before_it_is_read() -> None:
    point = SimpleNamespace(positions=np.zeros(2), time_from_start=SimpleNamespace(sec=0, nanosec=0))
    head = SimpleNamespace(frame_id="flow@1", stamp=SimpleNamespace(sec=0, nanosec=0))
    giant = SimpleNamespace(header=head, joint_names=["a", "b"], points=[point] * (CHUNK_ROWS + 1))
    with pytest.raises(ContractError, match=rf"chunk: rows: found {CHUNK_ROWS + 1}, allowed at most {CHUNK_ROWS}"):
        chunk_value(giant)
    wide = SimpleNamespace(header=head, joint_names=["a"] * (JOINTS + 1), points=[point] * 2)
    with pytest.raises(ContractError, match="chunk: joints"):
        chunk_value(wide)


def test_states_scalars_causes_and_pictures_are_bounded() -> None:
    many, zeros = [f"j{i}" for i in range(JOINTS + 1)], np.zeros(JOINTS + 1)
    state = message("sensor_msgs/msg/JointState", name=many, position=zeros, velocity=zeros, effort=zeros)
    with pytest.raises(ContractError, match="joint state: joints"):
        state_value(state)
    more = np.zeros(SCALARS + 1)
    crowd = message("sensor_msgs/msg/JointState", name=["x"] * (SCALARS + 1), position=more, velocity=more, effort=more)
    with pytest.raises(ContractError, match="failure score: scalars"):
        score_value(crowd)
    two = np.zeros(2)
    names = ["score", "threshold"]
    novel = message("sensor_msgs/msg/JointState", frame_id="x" * (WORDS + 1), name=names, position=two, velocity=two, effort=two)
    with pytest.raises(ContractError, match="characters of frame_id"):
        score_value(novel)
    data = bytes(IMAGE_BYTES + 3)
    with pytest.raises(ContractError, match="image: bytes"):
        frame_value(SimpleNamespace(data=data, height=1, width=1, step=3, encoding="rgb8"))


def bomb(claimed: int, compression: str = "zstd", size: int = 64 << 20) -> Chunk:
    """A chunk that unfolds to `size` zeros and says that it unfolds to `claimed` bytes."""
    if compression == "zstd":
        data = zstandard.compress(bytes(size))
    else:
        lz4 = pytest.importorskip("lz4.frame")
        data = lz4.compress(bytes(size))
    return Chunk(compression, data, 0, 0, 0, claimed)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("claimed", [64 << 20, 100])
def test_a_log_chunk_that_would_unfold_to_too_much_is_never_unfolded(compression: str, claimed: int) -> None:
    chunk = bomb(claimed, compression)
    tracemalloc.start()
    with pytest.raises(ContractError, match="log chunk: "):
        opened(chunk, most=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert len(opened(bomb(64 << 20, compression), LOG_CHUNK_BYTES).data) == 64 << 20


def test_a_log_chunk_within_its_bounds_is_read_as_by_anybody_else() -> None:
    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.ZSTD)
    writer.start(profile="ros2", library="test")
    channel = writer.register_channel("/x", "cdr", writer.register_schema("y", "ros2msg", b"int8 z"))
    for i in range(10):
        writer.add_message(channel, i, bytes(100), i)
    writer.finish()
    stream.seek(0)
    found = list(records(stream))
    assert sum(type(record).__name__ == "Message" for record in found) == 10
    stream.seek(0)
    with pytest.raises(ContractError, match="log chunk: bytes"):
        list(records(stream, most=100))


def test_a_short_yaml_that_unfolds_to_a_billion_values_is_refused(tmp_path: Path) -> None:
    laughs = "a0: &a0 [lol, lol, lol]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
    with pytest.raises(yaml.YAMLError, match="unfold to more than"):
        parse_yaml(laughs)
    (tmp_path / "run.yaml").write_text(laughs)
    with pytest.raises(ConfigError, match=r"run\.yaml: cannot be read as YAML"):
        plain.read(SafetySettings, tmp_path / "run.yaml")
    assert parse_yaml("a: &a [1, 2]\nb: *a\n") == {"a": [1, 2], "b": [1, 2]}


def test_texts_that_are_too_long_or_too_deep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too deep"):
        parse_json("[" * 200_000)
    with pytest.raises(yaml.YAMLError, match="too deep"):
        parse_yaml("[" * 5_000)
    with pytest.raises(ValueError, match="characters"):
        parse_json(" " * (TEXT_BYTES + 1))
    file = tmp_path / "long.json"
    with file.open("wb") as stream:
        stream.truncate(TEXT_BYTES + 1)
    with pytest.raises(OSError, match="allowed at most"):
        read_text(file)
    assert parse_json(json.dumps({"a": 1})) == {"a": 1}


@pytest.mark.parametrize("claimed", [1 << 62, 50 << 20, 4096])
def test_a_weights_file_whose_header_claims_too_much_is_refused(tmp_path: Path, claimed: int) -> None:
    file = tmp_path / "barrier.safetensors"
    file.write_bytes(struct.pack("<Q", claimed) + b"{}")
    with pytest.raises(OSError, match="its header claims"):
        check_weights(file)
    with pytest.raises(ConfigError, match=r"safety\.barrier: .*its header claims"):
        Barrier.load(file)
