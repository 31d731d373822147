"""One function over many items: the same answers, in the same order, here and on Ray."""

import builtins
from typing import Any

import pytest

from robot_stack.errors import ConfigError, DataError
from robot_stack.parallel import LOCAL, parallel_map

NO_RAY = "many logs at once need Ray (extra `scale`)"


def double(number: int) -> int:
    if number < 0:
        raise DataError(f"number: found {number}, allowed 0 or more")
    return 2 * number


def test_without_ray_items_are_worked_off_one_by_one_as_they_are_asked_for() -> None:
    answers = parallel_map(double, [1, 2, -3])
    assert [next(answers), next(answers)] == [2, 4]
    with pytest.raises(DataError, match="found -3"):
        next(answers)


def test_without_the_extra_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_ray(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", no_ray)
    with pytest.raises(ModuleNotFoundError, match="ray"):
        list(parallel_map(double, [1], LOCAL))


def test_ray_gives_the_same_answers_in_the_same_order() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    assert list(parallel_map(double, range(20), LOCAL)) == list(parallel_map(double, range(20)))


def test_what_a_worker_raises_is_raised_at_its_place_as_it_was() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    answers = parallel_map(double, [1, -2, 3], LOCAL)
    assert next(answers) == 2
    with pytest.raises(DataError) as raised:
        next(answers)
    assert str(raised.value) == "number: found -2, allowed 0 or more"


def test_an_address_where_no_cluster_is_says_so() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    with pytest.raises(ConfigError, match="found nobody at '127.0.0.1:1'"):
        list(parallel_map(double, [1], "127.0.0.1:1"))
