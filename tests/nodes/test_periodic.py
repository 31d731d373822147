"""The thread every loop runs in."""

import threading

import pytest

from robot_stack.nodes.periodic import Periodic, next_deadline


class Counter:
    """Counts its calls and says when there were enough."""

    def __init__(self, enough: int) -> None:
        self.lateness: list[int] = []
        self.enough = threading.Event()
        self._number = enough

    def __call__(self, lateness_ns: int) -> None:
        self.lateness.append(lateness_ns)
        if len(self.lateness) >= self._number:
            self.enough.set()


def test_it_calls_until_it_is_stopped_and_is_never_early() -> None:
    counter, faults = Counter(20), []
    thread = Periodic("test", 1_000_000, counter, faults.append)
    thread.start()
    assert counter.enough.wait(30.0)
    assert thread.stop(30.0)
    done = len(counter.lateness)
    assert min(counter.lateness) >= 0 and not faults
    assert len(counter.lateness) == done


@pytest.mark.parametrize(("now_ms", "next_ms"), [(100, 110), (103, 110), (110, 110), (111, 120), (175, 180), (180, 180)])
def test_deadlines_missed_altogether_are_skipped_and_the_grid_is_kept(now_ms: int, next_ms: int) -> None:
    assert next_deadline(100_000_000, 10_000_000, now_ms * 1_000_000) == next_ms * 1_000_000


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def test_a_step_that_waited_moves_all_deadlines_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, begun, ended = Clock(), [], threading.Event()
    monkeypatch.setattr("robot_stack.nodes.periodic.time", clock)

    def step(_: int) -> None:
        begun.append(clock.now_ns // 1_000_000)
        if len(begun) == 2:
            clock.sleep(0.03)
            thread.postpone(30_000_000)
        if len(begun) == 4:
            thread.stop()
            ended.set()

    thread = Periodic("test", 100_000_000, step, lambda error: None)
    thread.start()
    assert ended.wait(30.0)
    assert begun == [100, 200, 330, 430]


def test_an_exception_ends_it_and_is_handed_over() -> None:
    faults: list[BaseException] = []
    told = threading.Event()

    def fail(_: int) -> None:
        raise RuntimeError("broken step")

    def on_fault(error: BaseException) -> None:
        faults.append(error)
        told.set()

    thread = Periodic("test", 1_000_000, fail, on_fault)
    thread.start()
    assert told.wait(30.0)
    assert thread.stop(30.0) and str(faults[0]) == "broken step"


def test_a_refused_real_time_priority_is_said_in_one_line() -> None:
    counter = Counter(1)
    thread = Periodic("test", 1_000_000, counter, lambda error: None, priority=10)
    thread.start()
    thread.stop(30.0)
    assert thread.said.startswith(("SCHED_FIFO 10", "normal scheduling: SCHED_FIFO 10 was refused"))
    assert "\n" not in thread.said
