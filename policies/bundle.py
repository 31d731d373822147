"""The one deployable unit: a directory with `manifest.yaml`, `model.onnx` and `manifest.sha256` (checkable with `sha256sum -c`).

Nothing in it is unpickled. Every file's hash is in the manifest, the manifest's own beside it; a mismatch refuses to start.
"""

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from robot_stack.data.whole_file import sync
from robot_stack.errors import PolicyError
from robot_stack.size_limits import BUNDLE_BYTES, BUNDLE_FILES, parse_yaml, read_text

MANIFEST, MANIFEST_SUM, MODEL = "manifest.yaml", "manifest.sha256", "model.onnx"
VERSION = 1
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True)
class Manifest:
    """What a bundle is. `cameras`: name and native (H, W); `unit`: of joints and chunk (a prismatic joint's is m); `parity`: rad.

    `rows` T at `dt_ns`; `candidates`: default N; `features`: F; `selector`: what the counts of the graph are,
    and its arg-max of: pseudo-counts of "taco", Q of "q_rank", "" nothing at all;
    `velocity`: the graph wants joint speeds too; `tokens` > 0: so many bytes of the instruction, which is free then;
    `continues`: it takes the plan that is being played and goes on from there (`inpaint`). `precision`: what its networks
    compute in.
    """

    version: int
    name: str
    joint_names: tuple[str, ...]
    unit: str
    cameras: tuple[tuple[str, tuple[int, int]], ...]
    instruction: str
    rows: int
    dt_ns: int
    rate_hz: float
    candidates: int
    features: int
    denoising_steps: int
    velocity: bool
    selector: str
    data_sha256: str
    train_frames: int
    opset: int
    statistics: Mapping[str, list[float]]
    tokens: int = 0
    continues: bool = False
    precision: str = "fp32"
    figures: Mapping[str, float] = field(default_factory=dict)
    parity: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """The graph's counts say how familiar a candidate is: the monitor may listen."""
        return self.selector == "taco"


@dataclass(frozen=True)
class Bundle:
    """A directory whose every hash was checked, and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The ONNX graph."""
        return self.folder / MODEL


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and its sum; `manifest.files` must already name every other file."""
    text = yaml.safe_dump(json.loads(json.dumps(asdict(manifest))), sort_keys=False)
    (folder / MANIFEST).write_text(text)
    (folder / MANIFEST_SUM).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  {MANIFEST}\n")


def put_in_place(part: Path, out: Path) -> None:
    """Make `part` the folder `out` in one step: whoever looks, and whoever is killed, finds the old bundle or the new one, whole.

    What was at `out` is deleted then.
    """
    for path in (*part.iterdir(), part):
        sync(path)
    if not (out.is_dir() and any(out.iterdir())):
        part.replace(out)
    else:
        _exchange(part, out)
        shutil.rmtree(part)
    sync(out.parent)


def _exchange(one: Path, other: Path) -> None:
    """Two names change places: Linux's renameat2. A file system without it has neither, for a moment, under its name."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename and rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return
    aside = other.with_name(other.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    other.replace(aside)
    one.replace(other)
    aside.replace(one)


def load_bundle(folder: Path, joint_names: tuple[str, ...] | None = None) -> Bundle:
    """Check every hash and, where given, the joint names.

    Raises PolicyError naming what is missing, cut, changed or different.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PolicyError(f"{folder}: no such bundle directory; make one with `robot-stack export`")
    _check(folder / MANIFEST, _recorded_sum(folder))
    manifest = _parse(folder / MANIFEST)
    _check_names(folder / MANIFEST, manifest.files)
    for name, wanted in manifest.files.items():
        _check(folder / name, wanted)
    if MODEL not in manifest.files:
        raise PolicyError(f"{folder / MANIFEST}: files: found {sorted(manifest.files)}, allowed with {MODEL}; export again")
    if joint_names is not None and tuple(joint_names) != manifest.joint_names:
        allowed = tuple(joint_names)
        raise PolicyError(f"{folder}: joints: found {manifest.joint_names}, allowed {allowed}: the bundle is for another arm")
    return Bundle(folder, manifest)


def _recorded_sum(folder: Path) -> str:
    path = folder / MANIFEST_SUM
    if not path.is_file():
        raise PolicyError(f"{path}: missing, the bundle is truncated; copy it again or export again")
    return path.read_bytes()[:256].decode(errors="replace").split(" ")[0].strip()


def _check_names(path: Path, files: Mapping[str, str]) -> None:
    """A bundle is files in its own folder, not too many of them."""
    outside = [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside or len(files) > BUNDLE_FILES:
        found = f"{outside[0]!r}" if outside else f"{len(files)} names"
        raise PolicyError(f"{path}: files: found {found}, allowed at most {BUNDLE_FILES} names inside the folder; export again")


def _check(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise PolicyError(f"{path}: missing, the bundle is truncated; copy it again or export again")
    if (size := path.stat().st_size) > BUNDLE_BYTES:
        raise PolicyError(f"{path}: found {size} bytes, allowed at most {BUNDLE_BYTES}; it is no part of a bundle")
    if (found := sha256_of(path)) != wanted:
        raise PolicyError(
            f"{path}: found sha256 {found[:12]}..., {path.stat().st_size} bytes, allowed {wanted[:12]}...: "
            "the file was cut or changed; copy the bundle again or export again"
        )


def _parse(path: Path) -> Manifest:
    try:
        raw = parse_yaml(read_text(path))
        if raw["version"] != VERSION:
            raise PolicyError(f"{path}: version: found {raw['version']}, allowed {VERSION}; export again with this version")
        raw["selector"] = {True: "taco", False: ""}.get(raw["selector"], raw["selector"])  # as it was said before q_rank
        joint_names, cameras = tuple(raw.pop("joint_names")), raw.pop("cameras")
        return Manifest(joint_names=joint_names, cameras=tuple((name, (size[0], size[1])) for name, size in cameras), **raw)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: not a manifest: {error!r}; export again") from error
