"""Overrides become typed settings; whatever is misspelt or of the wrong type is named before anything runs."""

from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest
from omegaconf import MISSING

from robot_stack.config import commands
from robot_stack.config.commands import DemoCommand, RunCommand, TrainCommand
from robot_stack.config.load import FOLDER, command_name, load, options_of
from robot_stack.config.plain import build, is_settings, keys_of, read, write
from robot_stack.config.schema import SafetySettings, TaskSettings
from robot_stack.errors import ConfigError
from robot_stack.relabel.commands import LABELLERS

ALL = [kind for name, kind in vars(commands).items() if name.endswith("Command")]


def needed(kind: type) -> list[str]:
    """Overrides for the keys a command cannot do without."""
    return [f"{one.name}=x" for one in fields(kind) if one.default == MISSING]


@pytest.mark.parametrize("kind", ALL, ids=command_name)
def test_every_command_has_its_defaults_in_yaml_and_in_code_agreeing(kind: type) -> None:
    settings = load(kind, needed(kind))
    for key, hint in keys_of(kind).items():
        if is_settings(hint) and "." not in key and key not in ("policy", "train"):  # a group within one is compared with it
            assert getattr(settings, key) == hint()


@pytest.mark.parametrize("kind", ALL, ids=command_name)
def test_every_group_of_every_command_has_an_option(kind: type) -> None:
    for key, hint in keys_of(kind).items():
        if is_settings(hint) and "." not in key and key not in LABELLERS:  # called like its settings, each has its own
            assert options_of(key), f"no YAML file in {FOLDER / key}"


def test_every_option_of_every_group_loads() -> None:
    for key, hint in keys_of(DemoCommand).items():
        for option in options_of(key) if is_settings(hint) else ():
            assert isinstance(load(DemoCommand, [f"{key}={option}"]), DemoCommand)


def test_values_of_each_type_are_overridden() -> None:
    asked = ["bundle=runs/b", "safety.use_filter=false", "run.episode_s=3", "run.domain=7", "run.episodes=[obstacle,frozen]"]
    settings = load(RunCommand, asked)
    assert (settings.bundle, settings.safety.use_filter) == ("runs/b", False)
    assert (settings.run.episode_s, settings.run.domain, settings.run.episodes) == (3.0, 7, ["obstacle", "frozen"])


@pytest.mark.parametrize("kind", [k for k in ALL if "robot" in keys_of(k)], ids=command_name)
@pytest.mark.parametrize("robot", ["sim_arm", "some/where/mine.yaml"])
def test_a_robot_is_chosen_by_name_or_file(kind: type, robot: str) -> None:
    assert load(kind, [*needed(kind), f"robot={robot}"]).robot == robot


def test_no_plain_key_is_taken_for_a_group() -> None:
    plain = {key for kind in ALL for key, hint in keys_of(kind).items() if not is_settings(hint)}
    assert not plain & {path.name for path in FOLDER.iterdir() if path.is_dir()}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"tracking_limit: found (nan|inf), allowed a finite float"):
        build(SafetySettings, {"tracking_limit": value})


@pytest.mark.parametrize(
    "override", ["safety.tracking_limit=-1", "safety.clear_s=-0.5", "run.episode_s=-3", "run.policy_period_s=0"]
)
def test_a_value_out_of_range_is_refused_with_the_range(override: str) -> None:
    with pytest.raises(ConfigError, match=rf"{override.partition('=')[0]}: found .*, allowed .* or more"):
        load(RunCommand, ["bundle=x", override])


def test_tuples_stay_tuples() -> None:
    settings = load(RunCommand, ["bundle=x", "task.cube_area=[1,2,3,4]"])
    assert settings.task.cube_area == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize("text", ["../a folder/b", "a=b,c", "it's", "[x]", "${here}" + "y", "{a: 1}", "null", "3"])
def test_a_text_value_is_taken_as_it_is(text: str) -> None:
    if text.startswith("${"):
        with pytest.raises(ConfigError):
            load(TrainCommand, [f"dataset={text}"])
    else:
        assert load(TrainCommand, [f"dataset={text}"]).dataset == text


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(FrozenInstanceError):
        load(TrainCommand, ["dataset=x"]).dataset = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("polcy=flow", ["polcy", "robot-stack train", "did you mean policy", "dataset"]),
        ("policy.stepz=3", ["policy.stepz", "did you mean policy.steps", "policy.rows"]),
        ("steps=3", ["steps", "train.steps", "policy.steps"]),
        ("policy=diffuson", ["policy", "'diffuson'", "flow"]),
        ("train.steps=many", ["train.steps", "'many'", "int"]),
        ("train.lr=fast", ["train.lr", "'fast'", "float"]),
        ("policy.velocity=perhaps", ["policy.velocity", "perhaps", "bool"]),
        ("+dataset=x", ["+dataset", "did you mean dataset"]),
        ("~policy", ["~policy", "="]),
        ("nonsense", ["nonsense", "key=value"]),
        ("train.steps=[1", ["train.steps=[1"]),
    ],
)
def test_a_wrong_override_names_the_key_what_was_found_and_what_is_allowed(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(TrainCommand, ["dataset=x", override])
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)


def test_a_missing_key_says_how_to_give_it() -> None:
    with pytest.raises(ConfigError, match=r"dataset: missing; next: robot-stack train dataset="):
        load(TrainCommand)


def test_a_tuple_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="task.cube_area"):
        load(RunCommand, ["bundle=x", "task.cube_area=[1,2,3]"])


def test_settings_survive_a_file(tmp_path: Path) -> None:
    settings = replace(load(RunCommand, ["bundle=x"]), task=TaskSettings(cube_area=(0.0, 1.0, 0.0, 1.0)))
    write(settings, tmp_path / "run.yaml")
    assert read(RunCommand, tmp_path / "run.yaml") == settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bundle: x\nrobott: y\n", ["robott", "did you mean robot", "bundle"]),
        ("bundle: x\nsafety: {clear_s: soon}\n", ["safety.clear_s", "'soon'", "float"]),
        ("bundle: x\nsafety: {clear_ss: 1.0}\n", ["safety.clear_ss", "did you mean clear_s"]),
        ("bundle: x\ntask: {cube_area: [1.0]}\n", ["task.cube_area", "tuple"]),
        ("- bundle\n", ["list", "mapping"]),
        ("bundle: [\n", ["YAML"]),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(RunCommand, file)
    assert not [word for word in [str(file), *words] if word not in str(caught.value)], str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        read(RunCommand, tmp_path / "nowhere.yaml")


def test_a_key_left_out_of_a_file_keeps_its_default() -> None:
    assert build(SafetySettings, {"clear_s": 1}) == SafetySettings(clear_s=1.0)
