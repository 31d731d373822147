"""Time is ``int`` nanoseconds of CLOCK_MONOTONIC (`time.monotonic_ns`), not changed by NTP or by setting the date.

Whatever decides gets `now_ns` as an argument, so that lock-step runs and tests put their own time there.
"""

NS_PER_S = 1_000_000_000


def seconds(t_ns: int) -> float:
    """Nanoseconds as seconds."""
    return t_ns / NS_PER_S


def nanoseconds(t_s: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(t_s * NS_PER_S)
