"""One function over many items: the same answers, in the same order, here and on Ray."""

import builtins
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import psutil
import pytest

from robot_stack.errors import ConfigError, DataError
from robot_stack.parallel import LOCAL, parallel_map

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="many logs at once need Ray (extra `scale`)")
"""Looked for, not imported: `parallel_map` says what Ray may do before it imports it."""


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


@needs_ray
def test_ray_gives_the_same_answers_in_the_same_order() -> None:
    assert list(parallel_map(double, range(20), LOCAL)) == list(parallel_map(double, range(20)))


@needs_ray
def test_what_a_worker_raises_is_raised_at_its_place_as_it_was() -> None:
    answers = parallel_map(double, [1, -2, 3], LOCAL)
    assert next(answers) == 2
    with pytest.raises(DataError) as raised:
        next(answers)
    assert str(raised.value) == "number: found -2, allowed 0 or more"


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "somewhere"])
def test_an_address_where_no_cluster_is_says_so(address: str) -> None:
    with pytest.raises(ConfigError, match=f"found nobody at '{address}'"):
        list(parallel_map(double, [1], address))


def listening_addresses(_: int) -> set[str]:
    """The addresses that processes of this user's Ray listen on."""
    user = psutil.Process().uids().real
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            name = " ".join(process.cmdline()[:2])
            if process.uids().real == user and ("raylet" in name or "gcs_server" in name or "ray::" in name):
                found |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return found


@needs_ray
def test_a_local_ray_listens_on_the_loopback_alone() -> None:
    (found,) = parallel_map(listening_addresses, [0], LOCAL)
    assert {ip.removeprefix("::ffff:") for ip in found} == {"127.0.0.1"}
