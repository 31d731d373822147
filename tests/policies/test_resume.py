"""A training that is killed, really and at bad moments, ends in the bits of one that is not."""

import time
from pathlib import Path

import numpy as np
import pytest

from policies.checkpoint import CARD, RESUME, WEIGHTS, load_checkpoint
from robot_stack.errors import PolicyError
from tests.policies.training_process import CARD_WRITTEN, PATIENCE_S, PROCESSES, SAVED, WEIGHTS_WRITTEN, run, train_here

KILLED = -9
MOMENTS = ("step 7", "half 2", f"renamed {WEIGHTS_WRITTEN}")
MORE_MOMENTS = ("step 2", "half 1", "written 2", "renamed 2", f"half {WEIGHTS_WRITTEN}", f"written {CARD_WRITTEN}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of the run that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out) == 0
    return (out / WEIGHTS).read_bytes()


def loadable(out: Path) -> bool:
    try:
        load_checkpoint(out)
    except PolicyError:
        return False
    return True


@pytest.mark.parametrize("death", [*MOMENTS, *(pytest.param(moment, marks=pytest.mark.slow) for moment in MORE_MOMENTS)])
def test_a_run_killed_at_a_bad_moment_goes_on_to_the_same_bits(tmp_path: Path, whole: bytes, death: str) -> None:
    assert run(tmp_path, death=death) == KILLED
    assert not loadable(tmp_path), "half a result"
    assert run(tmp_path) == 0
    assert (tmp_path / WEIGHTS).read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", WEIGHTS, CARD]


@pytest.mark.slow
def test_a_run_killed_again_and_again_goes_on_each_time(tmp_path: Path, whole: bytes) -> None:
    for death in ("step 5", "half 1", "step 9", f"renamed {SAVED - 2}"):
        assert run(tmp_path, death=death) == KILLED
    assert run(tmp_path) == 0
    assert (tmp_path / WEIGHTS).read_bytes() == whole


def test_a_new_training_killed_between_its_two_files_never_passes_for_a_whole_one(tmp_path: Path) -> None:
    assert run(tmp_path, {"seed": 1}) == 0
    assert run(tmp_path, death=f"renamed {WEIGHTS_WRITTEN}") == KILLED
    with pytest.raises(PolicyError, match="training was stopped between the two; start it again"):
        load_checkpoint(tmp_path)
    assert run(tmp_path) == 0 and loadable(tmp_path)


def test_what_a_run_of_other_settings_left_is_not_gone_on_from(tmp_path: Path, whole: bytes) -> None:
    assert run(tmp_path, {"seed": 1}, death="step 9") == KILLED
    assert (tmp_path / RESUME).is_file()
    assert run(tmp_path, {"save_every": 5, "log_every": 0, "prefetch": False}) == 0
    assert (tmp_path / WEIGHTS).read_bytes() == whole, "how often it is saved changes nothing"


@pytest.mark.slow
def test_runs_killed_at_random_moments_go_on_to_the_same_bits(tmp_path: Path, whole: bytes) -> None:
    rng, killed, begin = np.random.default_rng(0), 0, time.monotonic()
    assert run(tmp_path / "undisturbed") == 0
    took = time.monotonic() - begin
    for attempt in range(12):
        out, ended = tmp_path / str(attempt), KILLED
        while ended == KILLED:
            process = PROCESSES.Process(target=train_here, args=(out, {}, {}))
            process.start()
            process.join(rng.uniform(0.0, 1.5 * took))
            process.kill()
            process.join(PATIENCE_S)
            ended = process.exitcode
            killed += ended == KILLED
        assert ended == 0 and (out / WEIGHTS).read_bytes() == whole
    assert killed > 3
