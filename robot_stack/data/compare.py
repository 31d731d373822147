"""Are two values the same, bit for bit, and if not, where? Used by replay and by the tests of every encoding."""

import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any

import numpy as np


def difference(ours: Any, theirs: Any, name: str = "value") -> str | None:
    """Where `ours` first differs from `theirs`, as a sentence that begins with the path of the field; None: equal.

    Floats are equal when their bits are, so 0.0 differs from -0.0; every NaN equals every other NaN, because no
    decision depends on the payload of a NaN and text encodings do not keep it. Whole numbers compare by value.
    """
    if is_dataclass(ours) and is_dataclass(theirs) and type(ours) is type(theirs):
        pairs = ((f"{name}.{f.name}", getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(ours))
        return _first(pairs)
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping) and ours.keys() == theirs.keys():
        return _first((f"{name}[{key!r}]", ours[key], theirs[key]) for key in ours)
    if isinstance(ours, np.ndarray) or isinstance(theirs, np.ndarray):
        return _of_arrays(ours, theirs, name)
    if isinstance(ours, tuple | list) and isinstance(theirs, tuple | list) and len(ours) == len(theirs):
        return _first((f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True)))
    if isinstance(ours, float | np.floating) or isinstance(theirs, float | np.floating):
        same = isinstance(ours, Real) and isinstance(theirs, Real) and _bits(float(ours)) == _bits(float(theirs))
        return None if same else f"{name}: {ours!r} against {theirs!r}"
    if isinstance(ours, int | np.integer) and isinstance(theirs, int | np.integer):
        return None if ours == theirs else f"{name}: {ours!r} against {theirs!r}"
    return None if type(ours) is type(theirs) and ours == theirs else f"{name}: {ours!r} against {theirs!r}"


def _first(pairs: Any) -> str | None:
    return next((found for name, a, b in pairs if (found := difference(a, b, name)) is not None), None)


def _bits(value: float) -> bytes:
    return b"nan" if value != value else struct.pack("<d", value)


def _of_arrays(ours: Any, theirs: Any, name: str) -> str | None:
    if not (isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray)):
        return f"{name}: {_short(ours)} against {_short(theirs)}"
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{name}: {ours.dtype} {ours.shape} against {theirs.dtype} {theirs.shape}"
    unequal = ours != theirs
    if ours.dtype.kind == "f":
        unequal = (unequal | (np.signbit(ours) != np.signbit(theirs))) & ~(np.isnan(ours) & np.isnan(theirs))
    if not unequal.any():
        return None
    at = tuple(int(i) for i in np.argwhere(unequal)[0])
    place = ",".join(map(str, at))
    return f"{name}[{place}]: {ours[at].item()!r} against {theirs[at].item()!r} ({int(unequal.sum())} of {unequal.size} differ)"


def _short(value: Any) -> str:
    return f"array {value.shape}" if isinstance(value, np.ndarray) else repr(value)
