"""Hypothesis strategies for the values that flow, edge cases of floats included."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_stack.data.wire import ChoiceNote
from robot_stack.types import (
    ActionChunk,
    CameraFrame,
    Decision,
    FailureScore,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
    Violation,
)

JOINTS = ("base", "elbow", "grip")
TIMES = st.integers(0, 2**31 * 10**9 - 1)
FLOATS = st.floats(width=64)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def vectors(n):
    return arrays(np.float64, (n,), elements=FLOATS)


def maybe(strategy):
    return st.none() | strategy


ROW = vectors(len(JOINTS))
FRAMES = st.builds(
    CameraFrame,
    st.sampled_from(["scene", "wrist"]),
    TIMES,
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(lambda s: arrays(np.uint8, (*s, 3))),
)
STATES = st.builds(JointState, TIMES, ROW, ROW, maybe(ROW))
COMMANDS = st.builds(JointCommand, TIMES, ROW, maybe(ROW))
CHUNKS = st.builds(
    ActionChunk,
    TIMES,
    TIMES,
    st.integers(1, 10**10),
    st.integers(2, 6).flatmap(lambda n: arrays(np.float64, (n, len(JOINTS)), elements=FLOATS)),
    WORDS,
)
SCORES = st.builds(FailureScore, TIMES, FLOATS, FLOATS, WORDS)
HAZARDS = st.integers(0, 3).flatmap(
    lambda k: st.builds(Hazards, TIMES, arrays(np.float64, (k, 3), elements=FLOATS), vectors(k), vectors(k), vectors(k))
)
_NOTES = st.builds(ChoiceNote, TIMES, WORDS, st.integers(0, 63), FLOATS, maybe(st.integers(1, 8).flatmap(vectors)))
NOTES = st.builds(
    lambda note, offsets: replace(note, seen={name: note.t_obs_ns + ns for name, ns in offsets.items()}),
    _NOTES,
    st.dictionaries(st.sampled_from(["joints", "scene", "wrist"]), st.integers(0, 10**9)),
)
VERDICTS = st.builds(
    SafetyVerdict,
    TIMES,
    st.sampled_from(Mode),
    st.sampled_from(Decision),
    maybe(COMMANDS),
    COMMANDS.map(SafeCommand),
    st.lists(st.builds(Violation, st.sampled_from(Reason), FLOATS, st.integers(-1, 9)), max_size=3).map(tuple),
    WORDS,
    FLOATS,
    FLOATS,
    FLOATS,
)
INPUTS = st.builds(
    TickInputs,
    maybe(STATES),
    maybe(CHUNKS),
    maybe(COMMANDS),
    maybe(SCORES),
    maybe(HAZARDS),
    maybe(st.sampled_from(Request)),
    maybe(st.sampled_from(Reason)),
)
STEPS = st.builds(
    Step, TIMES, st.integers(-(10**12), 10**12), INPUTS, VERDICTS, st.lists(st.sampled_from(Reason), max_size=2).map(tuple)
)
