"""A built engine is loaded only if it is whole and of exactly the key that is asked for; anything else is built again."""

from dataclasses import fields, replace

import pytest

from policies.engines.cache import EngineKey, cached, write_engine

KEY = EngineKey("ab" * 32, "NVIDIA H200", "9.0", "tensorrt 10.13.0", "fp16", 16)
OTHERS = {
    "model_sha256": "cd" * 32, "gpu": "NVIDIA Thor", "capability": "11.0", "builder": "tensorrt_rtx 1.7.1", "precision": "fp32",
    "candidates": 32,
}  # fmt: skip


class Builder:
    """Counts what it builds."""

    def __init__(self):
        self.built = 0

    def __call__(self):
        self.built += 1
        return b"engine" * 1000


@pytest.fixture
def build():
    return Builder()


def test_an_engine_is_built_once(build, tmp_path):
    assert cached(KEY, build, tmp_path) == cached(KEY, build, tmp_path)
    assert build.built == 1


def test_every_part_of_the_key_makes_another_engine(build, tmp_path):
    assert set(OTHERS) == {field.name for field in fields(EngineKey)}
    for name, value in OTHERS.items():
        cached(replace(KEY, **{name: value}), build, tmp_path)
    assert build.built == len(OTHERS) and len(list(tmp_path.iterdir())) == len(OTHERS)


def damaged(content):
    """A bit of the engine, of its key, of its sum; cut in the engine, in the line; nothing; no line; something else."""
    yield from (content[:-5] + bytes([content[-5] ^ 1]) + content[-4:], content.replace(b"H200", b"H100"), content[:-1])
    yield from (content[:20], b"", content.split(b"\n", 1)[1], b"null\n", b"{}\n" + content, b"\xff\xfe\n")
    yield content.replace(b'"sha256": "', b'"sha256": "0', 1)


def test_a_damaged_file_is_never_loaded_but_built_again(build, tmp_path):
    whole = cached(KEY, build, tmp_path)
    path = tmp_path / KEY.file
    for number, content in enumerate(damaged(path.read_bytes())):
        path.write_bytes(content)
        assert cached(KEY, build, tmp_path) == whole and build.built == 2 + number
    assert cached(KEY, build, tmp_path) == whole and build.built == 1 + len(list(damaged(path.read_bytes())))


@pytest.mark.parametrize("name", OTHERS)
def test_an_engine_of_another_key_under_this_ones_name_is_never_loaded(name, build, tmp_path):
    write_engine(tmp_path / KEY.file, replace(KEY, **{name: OTHERS[name]}), b"foreign")
    assert cached(KEY, build, tmp_path) != b"foreign" and build.built == 1


def test_what_a_killed_builder_left_is_not_loaded(build, tmp_path):
    (tmp_path / f"{KEY.file}.123.part").write_bytes(b"half")
    cached(KEY, build, tmp_path)
    assert build.built == 1
