"""Built engines, kept in this user's cache folder: building takes seconds to minutes, and is good for one GPU and version only.

A file is one line of JSON (the whole key, and the sha256 of what follows) and then the engine. One whose line is not exactly the
key that is asked for, or whose bytes are not what was written, is never loaded but built again. Engines are not kept inside the
bundle: they are native code that no signature of the bundle covers, and a bundle that is copied to another robot should not
bring any.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from robot_stack.data.whole_file import sync, whole

HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class EngineKey:
    """What an engine is good for. `capability`: of the GPU ("9.0"); `builder`: library and version that built it."""

    model_sha256: str
    gpu: str
    capability: str
    builder: str
    precision: str
    candidates: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:32]}.engine"


def cache_folder() -> Path:
    """Where engines are kept: $XDG_CACHE_HOME/robot_stack/engines, readable by this user alone."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robot_stack" / "engines"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def cached(key: EngineKey, build: Callable[[], bytes], folder: Path | None = None) -> bytes:
    """The engine of `key`: from its file if that is whole and of this very key, or else built now and written there."""
    path = (folder or cache_folder()) / key.file
    engine, why = read_engine(path, key)
    log = logging.getLogger("robot_stack.engine")
    if engine is not None:
        return engine
    log.warning("building an engine of %s for %s (%s); it is kept in %s", key.builder, key.gpu, why, path)
    engine = build()
    write_engine(path, key, engine)
    return engine


def read_engine(path: Path, key: EngineKey) -> tuple[bytes | None, str]:
    """The bytes of the engine in `path`, or None and why it must not be loaded."""
    if not path.is_file():
        return None, "there was none"
    with path.open("rb") as file:
        line, engine = file.readline(HEADER_BYTES), file.read()
    try:
        header = json.loads(line)
        same, wanted = header["key"] == asdict(key), header["sha256"]
    except (ValueError, KeyError, TypeError):
        return None, "its file was damaged"
    if not same:
        return None, "its file was for something else"
    return (engine, "") if hashlib.sha256(engine).hexdigest() == wanted else (None, "its file was damaged")


def write_engine(path: Path, key: EngineKey, engine: bytes) -> None:
    """The file of `key` with `engine` in it."""
    header = json.dumps({"key": asdict(key), "sha256": hashlib.sha256(engine).hexdigest()}).encode()
    write_atomic(path, header + b"\n" + engine)


def write_atomic(path: Path, content: bytes) -> None:
    """The whole file or none: written beside, flushed to the disk, renamed."""
    with whole(path) as part:
        part.write_bytes(content)
        sync(part)
