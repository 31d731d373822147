"""Many trials of faults on one graph, in logs that are judged: what `robot-stack fault` and `bench faults` do."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from robot_stack.clock import nanoseconds
from robot_stack.errors import DataError, RobotStackError
from robot_stack.faults.judge import LogVerdict, judge
from robot_stack.faults.plant import Plant
from robot_stack.faults.table import FaultCase, Means
from robot_stack.faults.trial import HEARD_S, PATIENCE_S, Outcome, trial

LOST_S = 1.0
"""A recorder that is killed, or has no more room, loses at most this: it closes a piece of its file every half second."""


@dataclass
class Campaign:
    """Trials of one `case` on `plant`, their log below `folder`. A log that the fault itself ends is a log of one trial."""

    plant: Plant
    case: FaultCase
    folder: Path
    verdicts: list[LogVerdict] = field(default_factory=list)
    _log: Path | None = None
    _begun_ns: int = 0
    _inside: list[Outcome] = field(default_factory=list)

    def run(self, times: int) -> Iterator[Outcome]:
        """`times` trials, each as it ends; what the logs show is in `verdicts` once all have."""
        for _ in range(times):
            if self._log is None and self.case.means is not Means.FOLDER:
                self._begin()
            outcome = trial(self.plant, self.case)
            self._inside.append(outcome)
            yield outcome
            if self.case.ends_log:
                self.end()
        self.end()

    def end(self) -> None:
        """Close the log, if one is open, and judge it."""
        if self._log is None:
            return
        with suppress(RobotStackError):  # a disk that was full: what it holds is judged all the same
            self.plant.operator.stop_log()
        lost_ns = nanoseconds(LOST_S) if self.case.ends_log else 0
        try:
            found = judge(self._log, self.plant.run.robot, self._inside, self._begun_ns, lost_ns)
        except DataError:
            found = LogVerdict(self._log, 0, 0, sum(len(outcome.ticks) for outcome in self._inside), False)
        self.verdicts.append(found)
        self._log, self._inside = None, []

    def _begin(self) -> None:
        """A new log, that goes on long enough before anything breaks."""
        number = len(list(self.folder.glob(f"{self.case.name}_*")))
        path = (self.folder / f"{self.case.name}_{number:03d}").resolve()
        self._log = Path(self.plant.operator.start_log(path, self.case.name))
        self._begun_ns = time.monotonic_ns()
        enough_ns = self._begun_ns + nanoseconds(HEARD_S)
        self.plant.operator.wait_for(lambda step: step.t_ns > enough_ns, PATIENCE_S, "a log that goes on")
