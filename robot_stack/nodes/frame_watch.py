"""What to say about the frames of a camera, once a fault: gone, late, of another size, back. Trust in them is the monitor's."""

from robot_stack.clock import nanoseconds, seconds
from robot_stack.diagnostics import Level, Reading, rate_level
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame


class FrameWatch:
    """Watches one camera from `now_ns` on. Each judgement is a sentence to say, or None when there is nothing new to say."""

    def __init__(self, spec: CameraSpec, late_s: float, now_ns: int) -> None:
        self._spec = spec
        self._late_ns = nanoseconds(late_s)
        self._last_ns = now_ns
        self._said: set[str] = set()
        self._why = ""
        self._good = self._wrong = self._age_ns = 0

    def gone(self, why: str) -> str | None:
        """The device is gone, because `why`."""
        return self._once(why, f"{why}; tried again until it is back")

    def nothing(self, now_ns: int) -> str | None:
        """No new frame at `now_ns`; worth a sentence when the next is late and nothing else explains it."""
        if self._said or now_ns - self._last_ns <= self._late_ns:
            return None
        return self._once("late", f"camera {self._spec.name}: no frame for {self._limit}")

    def wrong_size(self, frame: CameraFrame) -> str | None:
        """`frame` has not the size of the robot's file."""
        self._wrong += 1
        height, width, _ = frame.rgb.shape
        wanted = f"{self._spec.width}x{self._spec.height}"
        return self._once(
            f"{width}x{height}",
            f"camera {self._spec.name}: dropped: found {width}x{height}, allowed {wanted}; set the camera, or the robot's file",
        )

    def good(self, frame: CameraFrame, now_ns: int) -> str | None:
        """`frame` is new and of the right size; it may still be late."""
        silent_ns, self._last_ns = now_ns - self._last_ns, now_ns
        self._good, self._age_ns = self._good + 1, max(self._age_ns, now_ns - frame.t_ns)
        if (age_ns := now_ns - frame.t_ns) > self._late_ns:
            return self._once("old", f"camera {self._spec.name}: frames are {age_ns / 1e6:.0f} ms old, allowed {self._limit}")
        if not self._said:
            return None
        self._said.clear()
        return f"camera {self._spec.name}: well again, after {silent_ns / 1e9:.1f} s"

    def reading(self, dt_ns: int) -> Reading:
        """The good frames of the last `dt_ns`, judged by their rate as a loop is; WARN at least when something is wrong."""
        good, wrong, age_ns = self._good, self._wrong, self._age_ns
        self._good = self._wrong = self._age_ns = 0
        level, why = rate_level(good, dt_ns, self._spec.rate_hz)
        if self._said and level is not Level.ERROR:
            level = Level.WARN
        text = self._why if self._said else why
        values = {"rate_hz": round(good / seconds(dt_ns), 2), "dropped": wrong, "age_max_ms": round(age_ns / 1e6, 2)}
        return Reading("frames", level, text, values)

    @property
    def _limit(self) -> str:
        return f"{self._late_ns / 1e6:.0f} ms"

    def _once(self, fault: str, text: str) -> str | None:
        if fault in self._said:
            return None
        self._said.add(fault)
        self._why = text
        return text
