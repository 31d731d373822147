"""The house rules a program can check: short files and functions, honest names, docstrings on what is public, true documents."""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from robot_stack.cli import as_overrides
from robot_stack.command_table import COMMANDS
from robot_stack.config import commands, schema
from robot_stack.config.load import load
from robot_stack.datasets.commands import parse

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("robot_stack", "policies", "safety", "drivers")
PRODUCT = sorted(path for name in (*PACKAGES, "launch") for path in (ROOT / name).rglob("*.py"))
ALL = PRODUCT + sorted(path for name in ("tests", "benchmarks") for path in (ROOT / name).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 300, 40
VAGUE = {"util", "utils", "helper", "helpers", "base", "manager", "common", "misc"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def words(name: str) -> set[str]:
    """`FrameManager`, `frame_manager` -> {frame, manager}."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def definitions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Functions, classes and methods whose names, and whose classes' names, have no leading underscore."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", PRODUCT, ids=relative)
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    for node in definitions(path):
        if not isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", PRODUCT, ids=relative)
def test_whatever_is_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module"
    assert not [name for name, node in public(tree.body) if not ast.get_docstring(node)]  # type: ignore[arg-type]


def test_no_name_is_vague() -> None:
    files = [relative(path) for path in ALL if words(path.stem) & VAGUE]
    names = [f"{relative(path)}: {node.name}" for path in PRODUCT for node in definitions(path) if words(node.name) & VAGUE]
    assert not files + names


def test_every_setting_is_read_somewhere() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in PRODUCT if path.parent.name != "config")
    kinds = [kind for module in (schema, commands) for kind in vars(module).values() if is_dataclass(kind)]
    unread = [f"{kind.__name__}.{f.name}" for kind in kinds for f in fields(kind) if not re.search(rf"\.{f.name}\b", code)]
    assert not unread


def documented(name: str) -> Iterator[tuple[str, str]]:
    """(file, words of the test's name with `...` where some are left out) for each test a table row of the safety case names."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        for file, quoted in re.findall(r"`(test_\w+)`(?:: ((?:\*[^*]+\*(?:, )?)+))?", line):
            for sentence in re.findall(r"\*([^*]+)\*", quoted) or [""]:
                yield file, sentence


@pytest.mark.parametrize("document", ["safety/README.md", "SECURITY.md"])
def test_every_test_the_safety_case_and_the_threat_model_name_exists(document: str) -> None:
    named = list(documented(document))
    assert len(named) > 10
    for file, sentence in named:
        found = list((ROOT / "tests").rglob(f"{file}.py"))
        assert len(found) == 1, file
        tests = [node.name.replace("_", " ") for node in definitions(found[0]) if node.name.startswith("test_")]
        parts = [re.sub(r"[^a-z0-9 ]", "", part.lower().replace("-", " ")).strip() for part in sentence.split("…")]
        assert any(re.search(".*".join(map(re.escape, parts)), test) for test in tests), f"{file}: {sentence}"


def shown() -> list[str]:
    """Every `robot-stack ...` line of the README, of the help of the commands and of the launch file."""
    readme = re.findall(r"^robot-stack (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return readme + [line.removeprefix("robot-stack ") for c in COMMANDS.values() for line in c.example.splitlines()]


@pytest.mark.parametrize("line", sorted(set(shown())))
def test_every_command_shown_to_a_user_has_a_name_and_settings_that_exist(line: str) -> None:
    name, *arguments = shlex.split(line)
    command = COMMANDS[name]
    if name == "data":
        parse(arguments)
    elif command.settings:
        load(getattr(commands, command.settings), as_overrides(arguments, command.main_key))
    else:
        assert all((ROOT / "benchmarks" / f"bench_{argument}.py").is_file() for argument in arguments)


def test_every_target_of_make_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make ([a-z][a-z-]*)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert targets >= {"demo", "test", "setup"}
    assert not [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


def test_every_path_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:robot_stack|policies|safety|drivers|launch|tests|benchmarks)/[\w./]*)`", text)
    assert len(paths) > 5 and not [path for path in paths if not (ROOT / path).exists()]
