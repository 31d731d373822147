from pathlib import Path

from robot_stack.build import load_robot
from robot_stack.config.schema import DemoSettings
from robot_stack.data.from_log import episode_from_log
from robot_stack.data.log import read_log
from robot_stack.demo.collect import close_calls, plan, record
from robot_stack.replay.crew import Setup
from robot_stack.replay.lockstep import Rates
from robot_stack.replay.verdicts import replay_verdicts, safety_of

SETUP = Setup(load_robot("sim_arm"), rates=Rates(camera_hz=5.0, monitor_hz=5.0))


def test_the_plan_has_the_asked_shares_and_clumsy_ones_start_where_good_ones_do() -> None:
    demonstrations = plan(SETUP, DemoSettings(demonstrations=40, clumsy_share=0.2, obstacle_share=0.25), Path("demos"))
    clumsy = {d.seed for d in demonstrations if d.clumsy}
    good = [d.seed for d in demonstrations if not d.clumsy]
    assert (len(clumsy), len(set(good))) == (8, 32)
    assert clumsy < set(good)
    assert sum(d.scenario == "obstacle" for d in demonstrations) == 10
    assert len({d.path for d in demonstrations}) == 40


def test_close_calls_are_unfiltered_and_start_elsewhere() -> None:
    settings = DemoSettings(demonstrations=40, close_calls=3)
    calls = close_calls(SETUP, settings, Path("calls"))
    assert all(c.scenario == "chase" and not c.setup.safety.use_filter for c in calls)
    assert not {c.seed for c in calls} & {d.seed for d in plan(SETUP, settings, Path("demos"))}


def test_a_recorded_demonstration_succeeds_replays_bit_equal_and_reads_as_an_episode(tmp_path: Path) -> None:
    demonstration = next(
        d for d in plan(SETUP, DemoSettings(demonstrations=2, clumsy_share=0.0), tmp_path) if d.scenario == "nominal"
    )
    outcome = record(demonstration)
    log = read_log(demonstration.path)
    report = replay_verdicts(log, safety_of(log))
    episode = episode_from_log(log, 5.0, ("scene", "wrist"))
    assert outcome.success and outcome.clearance > 0.0
    assert report.ok and report.equal == report.ticks > 100
    assert log.metadata.settings["label"] == {"seed": demonstration.seed, "clumsy": False}
    assert episode.images["scene"].shape[1:] == (128, 128, 3) and len(episode) > 10


def test_the_same_demonstration_twice_is_the_same_to_the_last_digit(tmp_path: Path) -> None:
    first, second = (
        record(plan(SETUP, DemoSettings(demonstrations=1, clumsy_share=0.0), tmp_path / name)[0]) for name in ("a", "b")
    )
    assert first == second
