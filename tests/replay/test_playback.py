"""When each message of a log is due, by a clock that stands until it is waited for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from robot_stack.config.playback import PlaybackSettings
from robot_stack.data.log import EpisodeLog, read_log
from robot_stack.data.log_reader import VERDICT_TOPIC, RawMessage
from robot_stack.errors import ConfigError
from robot_stack.replay.playback import Player, Playhead

GOLDEN = Path(__file__).parents[1] / "golden" / "frozen"
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def log() -> EpisodeLog:
    return read_log(GOLDEN)


class Stage:
    """A player whose time goes on only while it waits. `keys`: (s after the start, key); messages are kept with their times."""

    def __init__(
        self,
        settings: PlaybackSettings,
        *keys: tuple[float, str],
        watch: Callable[[float], object] = lambda now_s: None,
        send_s: float = 0.0,
    ) -> None:
        self.now_ns, self.keys, self.watch, self.send_s = 7 * SECOND_NS, list(keys), watch, send_s
        self.shown: list[tuple[float, RawMessage]] = []
        self.player = Player(settings, self.send, lambda: self.now_ns, self.wait)

    @property
    def now_s(self) -> float:
        return self.now_ns / 1e9 - 7.0

    def send(self, raw: RawMessage) -> None:
        self.shown.append((self.now_s, raw))
        self.now_ns += round(self.send_s * 1e9)

    def wait(self, timeout_s: float) -> str:
        self.watch(self.now_s)
        if self.keys and self.keys[0][0] <= self.now_s + timeout_s:
            at_s, key = self.keys.pop(0)
            self.now_ns = max(self.now_ns, round((7.0 + at_s) * 1e9))
            return key
        self.now_ns += round(timeout_s * 1e9)
        return ""

    def play(self, log: EpisodeLog) -> "Stage":
        self.player.play(log)
        return self


def offsets(messages: list[RawMessage]) -> list[float]:
    begin = next(raw.t_ns for raw in messages if raw.topic == VERDICT_TOPIC)
    return [max(0.0, (raw.t_ns - begin) / 1e9) for raw in messages]


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 1000.0])
def test_every_message_comes_once_in_order_and_at_its_time(log: EpisodeLog, rate: float) -> None:
    stage = Stage(PlaybackSettings(rate=rate)).play(log)
    recorded = list(log.messages())
    assert [raw for _, raw in stage.shown] == recorded and stage.player.sent == len(recorded)
    assert [t for t, _ in stage.shown] == pytest.approx([t / rate for t in offsets(recorded)], abs=1e-6)


def test_start_and_end_leave_out_what_lies_before_and_after(log: EpisodeLog) -> None:
    stage = Stage(PlaybackSettings(start_s=1.0, end_s=2.0, rate=2.0)).play(log)
    recorded = list(log.messages())
    meant = [(t, raw) for t, raw in zip(offsets(recorded), recorded, strict=True) if 1.0 <= t <= 2.0]
    assert [raw for _, raw in stage.shown] == [raw for _, raw in meant]
    assert [t for t, _ in stage.shown] == pytest.approx([(t - 1.0) / 2.0 for t, _ in meant], abs=1e-6)


def test_a_log_played_again_begins_anew(log: EpisodeLog) -> None:
    stage = Stage(PlaybackSettings(end_s=0.5)).play(log)
    once = len(stage.shown)
    stage.play(log)
    first, second = stage.shown[:once], stage.shown[once:]
    assert [raw for _, raw in first] == [raw for _, raw in second]
    gaps = [b - a for (a, _), (b, _) in zip(first, second, strict=True)]
    assert gaps == pytest.approx([gaps[0]] * once, abs=1e-6) and gaps[0] == pytest.approx(0.5, abs=0.02)


def test_a_pause_shifts_what_comes_after_it(log: EpisodeLog) -> None:
    plain = Stage(PlaybackSettings(end_s=2.0)).play(log)
    paused = Stage(PlaybackSettings(end_s=2.0), (0.505, " "), (3.505, " ")).play(log)
    shift = [b - a for (a, _), (b, _) in zip(plain.shown, paused.shown, strict=True)]
    assert shift == pytest.approx([0.0 if t < 0.505 else 3.0 for t, _ in plain.shown], abs=1e-6)


def test_stepping_shows_one_message_or_one_tick_for_each_key(log: EpisodeLog) -> None:
    keys = [(1.0, "m"), (2.0, "m"), (3.0, "t"), (4.0, "t"), (5.0, "q")]
    stage = Stage(PlaybackSettings(step=True), *keys).play(log)
    recorded = list(log.messages())
    shown = {second: [raw for t, raw in stage.shown if t == second] for second in (1.0, 2.0, 3.0, 4.0)}
    assert [raw for _, raw in stage.shown] == recorded[: len(stage.shown)] and stage.player.ended
    assert len(shown[1.0]) == len(shown[2.0]) == 1
    for second in (3.0, 4.0):
        assert [raw.topic for raw in shown[second]].count(VERDICT_TOPIC) == 1 and shown[second][-1].topic == VERDICT_TOPIC


def test_a_stepped_log_goes_on_from_where_it_stands(log: EpisodeLog) -> None:
    stage = Stage(PlaybackSettings(step=True), *[(1.0, "t")] * 50, (9.0, " "), (9.2, "q")).play(log)
    ticks = [(t, raw.t_ns) for t, raw in stage.shown if raw.topic == VERDICT_TOPIC]
    stood, after = ticks[49], ticks[50]
    assert after[0] - 9.0 == pytest.approx((after[1] - stood[1]) / 1e9, abs=1e-6)


def test_keys_jump_on_and_back_and_change_the_rate(log: EpisodeLog) -> None:
    settings = PlaybackSettings()
    on = Stage(settings, (0.305, "+"), (0.505, "b"), (0.605, "q")).play(log)
    times = [(raw.t_ns - on.player.begin_ns) / 1e9 for _, raw in on.shown if raw.topic == VERDICT_TOPIC]
    back = next(i for i in range(1, len(times)) if times[i] < times[i - 1])
    assert times[back - 1] == pytest.approx(0.305 + 2 * 0.2, abs=0.02) and times[back] == 0.0
    beyond = Stage(settings, (0.5, "f")).play(log)
    assert beyond.shown[-1][1].t_ns - beyond.player.begin_ns <= 0.5e9 and not beyond.player.ended


def test_keys_are_heard_and_the_graph_is_watched_however_many_messages_are_due(log: EpisodeLog) -> None:
    asked: list[float] = []
    Stage(PlaybackSettings(rate=1e6), watch=asked.append, send_s=0.1).play(log)
    assert max(b - a for a, b in zip(asked, asked[1:], strict=False)) <= 0.35


def test_what_the_watch_raises_ends_the_playing(log: EpisodeLog) -> None:
    def refuse(_: float) -> None:
        raise ConfigError("a robot is there")

    stage = Stage(PlaybackSettings(), watch=refuse)
    with pytest.raises(ConfigError, match="a robot is there"):
        stage.play(log)
    assert stage.player.sent == 0


def test_a_playhead_turned_stays_where_it_is() -> None:
    head = Playhead(100, 0).turned(50, rate=2.0)
    assert (head.at(50), head.at(60), head.due_ns(170)) == (150, 170, 60)
    still = head.turned(60, paused=True)
    assert (still.at(60), still.at(1000), still.due_ns(171)) == (170, 170, None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"namespace": "replay"}, "allowed ''"), ({"rate": 0.0}, "playback.rate"), ({"start_s": 3.0, "end_s": 2.0}, "end_s")],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float | str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PlaybackSettings(**wrong)  # type: ignore[arg-type]
