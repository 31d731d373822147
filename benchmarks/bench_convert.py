"""Frames that one core writes a second as a LeRobot v3 dataset, pictures encoded: ours against LeRobot's own writer, on the same
episodes with LeRobot's codec settings (crf 30, every second picture a key frame, AV1 preset 12 or H.264 medium, one thread),
interleaved. A second is one of processor time, all threads together: neighbours do not count.

LeRobot writes each picture as PNG first and encodes then, or, `streaming`, encodes at once. `mib_per_s` is of pixels and numbers
that went in; `clock_s` of the last round; `psnr_db` of the first episode. `robot-stack bench convert=PATH`: episodes of that
dataset (from the start of each) instead of made-up ones. Without LeRobot it measures ours alone, and says so.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result
from robot_stack.data import video
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.lerobot_piece import write_piece
from robot_stack.data.lerobot_write import write_v30
from robot_stack.data.recording import ACTION, STATE, Clip, Pictures, Recording
from robot_stack.data.video import iterate_clip, psnr_db

EPISODES, ROWS, ROUNDS, HEIGHT, WIDTH, JOINTS, RATE_HZ = 2, 60, 3, 480, 640, 7, 30.0
SETTINGS = {"av1": ("libsvtav1", {"crf": "30", "preset": "12"}), "h264": ("libx264", {"crf": "30"})}
"""LeRobot's, by our names of the codecs; what it does not set is the encoder's default."""

CAMERA = "observation.images."
Write = Callable[[Sequence[Recording], Path], None]


def main(arguments: Sequence[str]) -> list[Result]:
    """`arguments`: a dataset, optional."""
    episodes = list(recorded(Path(arguments[0]))) if arguments else [made_up(seed) for seed in range(EPISODES)]
    source = Path(arguments[0]).resolve().name if arguments else "made up"
    return [measured(f"convert{'' if codec == 'av1' else '_' + codec}", codec, episodes, source) for codec in SETTINGS]


def made_up(seed: int) -> Recording:
    """ROWS pictures of a blurred scene that drifts, with a camera's noise, and as many joint positions."""
    random = np.random.default_rng(seed)
    scene = random.normal(size=(HEIGHT // 32 + 4, WIDTH // 32 + 8, 3)).repeat(32, 0).repeat(32, 1)
    noise = random.normal(0.0, 2.0, (HEIGHT, WIDTH, 3))
    views = (scene[i % 64 : i % 64 + HEIGHT, 2 * i : 2 * i + WIDTH] for i in range(ROWS))
    images = [np.clip(128 + 40 * view + np.roll(noise, 7 * i, 1), 0, 255).astype(np.uint8) for i, view in enumerate(views)]
    q = np.cumsum(random.normal(0.0, 0.01, (ROWS, JOINTS)), axis=0).astype(np.float32)
    return _recording(f"made_up_{seed}", RATE_HZ, {STATE: q, ACTION: q + 0.001}, {"top": images})


def recorded(root: Path) -> Iterator[Recording]:
    """The first ROWS rows of the first EPISODES episodes of a dataset, decoded."""
    catalogue = Catalogue.open(root)
    for entry, _ in zip(catalogue.entries(), range(EPISODES), strict=False):
        found = catalogue.recording(entry).cut(0.0, ROWS / entry.rate_hz, 1)
        images = {name: list(iterate_clip(c) if isinstance(c, Clip) else c) for name, c in found.cameras.items()}
        yield _recording(found.name, found.rate_hz, {n: found.columns[n].astype(np.float32) for n in (STATE, ACTION)}, images)


def _recording(name: str, rate_hz: float, columns: Mapping[str, Any], images: Mapping[str, list[Any]]) -> Recording:
    cameras = {camera: Pictures(some.__iter__, range(len(some))) for camera, some in images.items()}
    return Recording(name, rate_hz, columns, cameras=cameras, task="Do it.")


def measured(name: str, codec: str, episodes: Sequence[Recording], source: str) -> Result:
    """ROUNDS rounds of all writers, one after the other."""
    writers: dict[str, Write] = {"ours": lambda some, out: ours(some, out, codec)}
    version = _lerobot_version()
    if version:
        writers["LeRobot"] = lambda some, out: theirs(some, out, codec, False)
        writers["LeRobot streaming"] = lambda some, out: theirs(some, out, codec, True)
    rows = sum(len(episode) for episode in episodes)
    size = sum(v.nbytes for e in episodes for v in e.columns.values()) + sum(i.nbytes for e in episodes for i in _images(e))
    rates: dict[str, list[float]] = {writer: [] for writer in writers}
    extra: dict[str, Any] = {
        "source": source,
        "frames": rows,
        "codec": f"{SETTINGS[codec]}",
        "lerobot": version or "not installed",
    }
    for _ in range(ROUNDS):
        for writer, write in writers.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds, cpu_s = timed(write, episodes, Path(folder) / "set")
                rates[writer].append(rows / cpu_s)
                extra[writer] = facts(Path(folder) / "set", episodes[0]) | {"clock_s": round(seconds, 2)}
    for writer, found in rates.items():
        extra[writer]["mib_per_s"] = round(float(np.median(found)) / rows * size / 2**20, 1)
    mine = rates.pop("ours")
    return Result(name, "frames / s of one core", mine, against=rates, extra=extra)


def timed(write: Write, episodes: Sequence[Recording], out: Path) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    begin, spent = time.perf_counter(), time.process_time()
    write(episodes, out)
    return time.perf_counter() - begin, time.process_time() - spent


def facts(out: Path, first: Recording) -> dict[str, float]:
    """MiB of video on disk, and the PSNR of the first camera of the first episode."""
    videos = sorted(out.rglob("*.mp4"))
    kept = dict(enumerate(next(iter(first.cameras.values()))))  # type: ignore[arg-type]
    sizes = sum(file.stat().st_size for file in videos) / 2**20
    return {"video_mib": round(sizes, 2), "psnr_db": round(psnr_db(kept, videos[0], first.rate_hz), 2)}


def ours(episodes: Sequence[Recording], out: Path, codec: str) -> None:
    """As `robot-stack data convert` does it, with LeRobot's settings of the encoder."""
    with lerobots_settings():
        write_v30((write_piece(e, out / ".pieces" / str(i), codec) for i, e in enumerate(episodes)), out)


@contextmanager
def lerobots_settings() -> Iterator[None]:
    """Our encoders with SETTINGS for as long as the block runs."""
    before = dict(video.ENCODERS)
    video.ENCODERS.update(SETTINGS)
    try:
        yield
    finally:
        video.ENCODERS.update(before)


def theirs(episodes: Sequence[Recording], out: Path, codec: str, streaming: bool) -> None:
    """LeRobot's create, add_frame, save_episode, finalize."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    first = episodes[0]
    features = {n: {"dtype": "float32", "shape": v.shape[1:], "names": None} for n, v in first.columns.items()}
    for camera in first.cameras:
        shape = next(_images(first, camera)).shape
        features[CAMERA + camera] = {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
    names = {"av1": "libsvtav1", "h264": "h264"}
    options = {"vcodec": names[codec], "encoder_threads": 1, "streaming_encoding": streaming, "encoder_queue_maxsize": 1000}
    dataset = LeRobotDataset.create("local/bench", int(first.rate_hz), features, root=out, **options)
    for episode in episodes:
        pictures = {CAMERA + camera: _images(episode, camera) for camera in episode.cameras}
        for i in range(len(episode)):
            frame = {name: values[i] for name, values in episode.columns.items()}
            dataset.add_frame(frame | {key: next(images) for key, images in pictures.items()} | {"task": episode.task})
        dataset.save_episode()
    dataset.finalize()


def _images(episode: Recording, camera: str = "") -> Iterator[Any]:
    for name, pictures in episode.cameras.items():
        if camera in ("", name):
            yield from pictures  # type: ignore[misc]


def _lerobot_version() -> str:
    """Of the LeRobot that can be imported; "": there is none."""
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    try:
        from policies.adapters.operators import import_torchvision

        import_torchvision()
        import lerobot.datasets.lerobot_dataset
    except ModuleNotFoundError:
        return ""
    return str(lerobot.__version__)
