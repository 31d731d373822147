"""Everything a recorder hears, on its way to a log: pictures are encoded in a thread of its own, the last seconds are kept.

Who hears (a ROS callback) calls `put`, which only puts bytes into a bounded queue: when that is full, a message is dropped and
counted. Order is kept: `begin` and `end` take their place in the same queue.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from robot_stack.clock import nanoseconds
from robot_stack.config.collect import CollectSettings
from robot_stack.data.log import LogWriter
from robot_stack.data.picture_stream import STREAMED, StreamEncoder, require_encoder
from robot_stack.errors import DataError

QUEUE_BYTES = 64 * 1024 * 1024
CHUNK_TOPICS, CHUNKS_BEFORE = ("/policy/chunk", "/teleop/chunk"), 5
"""A log begun while the arm moves holds this many chunks from before: its first ticks play one of them."""

_PAUSE_S = 0.02
_LOOK_S, _FOREVER_S = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One message. `kind`: its type where that is not the topic's own; `since`: pictures since the key frame, 0 for all else."""

    topic: str
    t_ns: int
    data: bytes
    kind: str = ""
    since: int = 0


class Ring:
    """The messages of the last `keep_ns`, at most `most_bytes` of them; a stream of pictures begins with a key frame."""

    def __init__(self, keep_ns: int, most_bytes: int) -> None:
        self._keep_ns, self._most_bytes = keep_ns, most_bytes
        self._kept: deque[Heard] = deque()
        self._bytes = 0

    def add(self, heard: Heard) -> None:
        """Keep `heard`, forget what is too old or too much."""
        self._kept.append(heard)
        self._bytes += len(heard.data)
        while self._kept and (self._bytes > self._most_bytes or self._kept[0].t_ns < heard.t_ns - self._keep_ns):
            self._bytes -= len(self._kept.popleft().data)

    def drain(self) -> Iterator[Heard]:
        """All that is kept, oldest first; it is empty then."""
        begun = set()
        while self._kept:
            heard = self._kept.popleft()
            if heard.since == 0:
                begun.add(heard.topic)
            if heard.topic in begun:
                yield heard
        self._bytes = 0


class Tape:
    """Takes what is heard to the log that is open, or into the ring of `settings`.

    `fault`: why that log takes no more ("": it does). `say` gets what went wrong, as a sentence; `fail` an exception nobody
    expected, which ends the thread. Raises ConfigError without the encoder of `settings`.
    """

    def __init__(
        self,
        settings: CollectSettings,
        say: Callable[[str], object],
        fail: Callable[[BaseException], object],
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        if settings.codec == "h264":
            require_encoder(settings.encoder)  # and loaded: the first picture does not wait for it
        self.fault = ""
        self._settings, self._say, self._fail = settings, say, fail
        self._ring = Ring(nanoseconds(settings.pre_trigger_s), int(settings.pre_trigger_mib * 2**20))
        self._chunks = {topic: deque[Heard](maxlen=CHUNKS_BEFORE) for topic in CHUNK_TOPICS}
        self._encoders: dict[str, StreamEncoder] = {}
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._queue: list[Heard | Callable[[], None]] = []
        self._room, self._queue_bytes = queue_bytes, queue_bytes
        self._drops: Counter[str] = Counter()
        self._writer: LogWriter | None = None
        self._thread = threading.Thread(target=self._run, name="tape", daemon=True)
        self._thread.start()

    def put(self, topic: str, t_ns: int, data: bytes) -> None:
        """One message, from any thread. Never waits. Pictures leave an eighth of the queue to what is small."""
        spared = self._queue_bytes // 8 if topic.endswith("/image") else 0
        with self._lock:
            if len(data) > self._room - spared:
                self._drops[topic] += 1
                return
            self._room -= len(data)
            self._queue.append(Heard(topic, t_ns, data))

    @property
    def drops(self) -> Counter[str]:
        """What the queue had no room for since the last `begin`, by topic."""
        with self._lock:
            return Counter(self._drops)

    def begin(self, writer: LogWriter) -> None:
        """From here on all goes to `writer`, what the ring has first."""
        self.fault = ""
        with self._lock:
            self._drops.clear()
            self._queue.append(lambda: self._open(writer))

    def end(self) -> None:
        """Returns once all that was put before is with the writer, which is its caller's again."""
        ended = threading.Event()

        def finish() -> None:
            writer, self._writer = self._writer, None
            self._encoders.clear()
            if writer is not None:
                for topic, count in self.drops.items():
                    writer.lost(topic, count)
            ended.set()

        with self._lock:
            self._queue.append(finish)
        deadline = time.monotonic() + _FOREVER_S
        while not ended.wait(_LOOK_S):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise DataError(f"recorder: its thread has ended, or is more than {_FOREVER_S:.0f} s late; the log ends early")

    def close(self) -> None:
        """End the thread; what waits is lost."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._closing.wait(_PAUSE_S)
                self._work_off()
        except BaseException as error:  # whatever it is, the node must learn of it and end
            self._fail(error)

    def _work_off(self) -> None:
        with self._lock:
            batch, self._queue = self._queue, []
        for item in batch:
            if not isinstance(item, Heard):
                item()
                continue
            self._take(item)
            with self._lock:
                self._room += len(item.data)

    def _take(self, heard: Heard) -> None:
        writer = self._writer
        if heard.topic in self._chunks:
            self._chunks[heard.topic].append(heard)
        try:
            if writer is not None:
                self._write(writer, self._encoded(heard))
            elif self._settings.pre_trigger_s:
                self._ring.add(self._encoded(heard))
        except DataError as error:
            self._refused(error)

    def _open(self, writer: LogWriter) -> None:
        kept = list(self._ring.drain())
        first_ns = kept[0].t_ns if kept else None
        before = [heard for chunks in self._chunks.values() for heard in chunks if first_ns is None or heard.t_ns < first_ns]
        self._writer = writer
        try:
            for heard in before + kept:
                self._write(writer, heard)
        except DataError as error:
            self._refused(error)

    def _refused(self, error: DataError) -> None:
        self.fault = str(error)
        self._say(self.fault)

    def _write(self, writer: LogWriter, heard: Heard) -> None:
        """It may have to wait for the disk: then the queue grows, and drops."""
        writer.write(heard.topic, heard.t_ns, heard.data, heard.kind, wait=True)

    def _encoded(self, heard: Heard) -> Heard:
        """`heard`, a picture as a piece of its camera's video. One that cannot be a piece of one stays as it is."""
        if self._settings.codec != "h264" or not heard.topic.endswith("/image"):
            return heard
        encoder = self._encoders.get(heard.topic) or StreamEncoder(self._settings.encoder, self._settings.crf)
        self._encoders[heard.topic] = encoder
        try:
            data, since = encoder.encode(heard.data)
        except DataError as error:
            self._say(f"{heard.topic}: kept as it is: {error}")
            return heard
        return Heard(heard.topic, heard.t_ns, data, STREAMED, since)
