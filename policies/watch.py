"""What one sees of a training while it runs: a bar with the time left, and TensorBoard's event files in the folder `events`.

`tensorboard --logdir runs` shows: loss, learning rate, gradient norm, samples/s, the share of time spent waiting for batches, and
the error on episodes held out. Events are written and flushed by the caller's thread: kill -9 takes none back, and a full disk
ends the log, not the training.
"""

import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar
from tqdm import tqdm

from robot_stack.config.schema import TrainSettings

EVENTS = "events"


class Watch:
    """Begins at step `first`. `silent`: it shows and writes nothing, in all processes of a training but one."""

    def __init__(self, out: Path, train: TrainSettings, first: int, silent: bool = False) -> None:
        self.train, self.first, self.waited_s = train, first, 0.0
        self.since, self.last = time.perf_counter(), first
        self.bar = tqdm(total=train.steps, initial=first, desc="train", unit="step", disable=silent)
        self._events = None if silent or not train.log_every else _events(out / EVENTS, first)

    def step(self, step: int, loss: float, rate: float, norm: float, waited_s: float) -> None:
        """After `step` steps: running loss, learning rate, norm of the gradient, seconds waited for batches since the start."""
        self.bar.update()
        if not self.train.log_every or step % self.train.log_every:
            return
        now = time.perf_counter()
        spent, count = now - self.since, self.train.batch * (step - self.last)
        share = (waited_s - self.waited_s) / spent
        self.write(step, loss=loss, lr=rate, gradient_norm=norm, samples_per_s=count / spent, waiting_share=share)
        self.bar.set_postfix(loss=f"{loss:.4f}", waiting=f"{share:.0%}", refresh=False)
        self.since, self.last, self.waited_s = now, step, waited_s

    def write(self, step: int, **values: float) -> None:
        """One event with `values` by name."""
        if self._events is None:
            return
        try:
            for name, value in values.items():
                self._events.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
            self._events.flush()
        except OSError as error:
            self._events = None
            tqdm.write(f"train: {EVENTS}: {error.strerror}; the training goes on, TensorBoard's log ends at step {step}")

    def close(self) -> None:
        """End the bar and the file."""
        self.bar.close()
        if self._events is not None:
            self._events.close()


def _events(folder: Path, first: int) -> EventsWriter | None:
    """A new event file; what older ones say of the step `first` and later does not count any more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        events = EventsWriter(str(folder / "events"), f".{os.getpid()}.{first}")
        events.write_event(Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START)))
        events.flush()
    except OSError as error:
        tqdm.write(f"train: {folder}: {error.strerror}; the training goes on without TensorBoard's log")
        return None
    return events
