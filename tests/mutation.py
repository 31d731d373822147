"""Mutation run of the safety core: every comparison, bound, sign, constant, and/or and min/max flipped in turn, one at a time.

    python tests/mutation.py [NAME ...] [--jobs N] [--list]         NAME: a file of safety/ without .py; default: all of TESTS

A mutant is compiled in memory and put in place of its module in a forked child that runs the tests named in `TESTS` with -x; no
file is ever changed, so runs may go side by side. A survivor is a mutant no test notices. `tests/mutation_equivalent.txt` lists
those that cannot be noticed, with the reason; the run fails on any other survivor, and on an entry that no longer fits.

Why not mutmut (3.8.1, tried: 166 mutants of limits.py, 26 "survivors"): it forks after the tests were collected, so what a test
module builds on import (`LIMITS = JointLimits(SPEC)`) is never mutated, nor are the constants of a module; cosmic-ray starts a
Python for each mutant, ten times as slow.
"""

import argparse
import ast
import copy
import gc
import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = Path(__file__).with_name("mutation_equivalent.txt")
SECONDS = 60
TESTS = {
    "limits": ("limits_boundaries", "limits", "braking"),
    "braking": ("braking_boundaries", "braking"),
    "arbitration": ("arbitration_boundaries", "arbitration"),
    "qp": ("qp_boundaries", "qp"),
    "keep_out": ("keep_out_boundaries", "keep_out"),
    "look_ahead": ("look_ahead",),
    "constraints": ("constraints_boundaries",),
    "giving_way": ("giving_way_boundaries",),
    "filter": ("filter_limits", "filter_boundaries", "filter", "grades", "adversarial"),
    "layer": ("layer",),
}
"""The tests of each file of safety/, quick ones first; those that do not exist are left out."""

FLIPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,), ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div,), ast.Pow: (ast.Mult,), ast.Mod: (ast.Mult,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,), ast.Or: (ast.And,),
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "all": "any", "any": "all", "floor": "ceil",
    "argmin": "argmax", "argmax": "argmin", "lower": "upper", "upper": "lower", "q_min": "q_max", "q_max": "q_min",
    "stop_lower": "stop_upper", "stop_upper": "stop_lower",
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: where, the line as it is, what becomes of which expression, and the changed module."""

    module: str
    line: int
    text: str
    change: str
    tree: ast.Module

    @property
    def key(self) -> str:
        """How `mutation_equivalent.txt` names it: no line number, so that it outlives other edits."""
        return f"{self.module} | {self.text} | {self.change}"


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may take the place of `node`."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for flip in FLIPS.get(type(op), ()):
                yield _with(node, ops=[flip() if k == i else o for k, o in enumerate(node.ops)])
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
        for flip in FLIPS.get(type(node.op), ()):
            yield _with(node, op=flip())
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1 if isinstance(node.value, int) else node.value * 2.0 or 1.0)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES and isinstance(node.ctx, ast.Load):
        yield _with(node, attr=NAMES[node.attr])
    elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield _with(node, id=NAMES[node.id])
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.abs", "abs"):
        yield node.args[0]
    elif isinstance(node, ast.IfExp | ast.If) and not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _with(node: ast.AST, **changed: object) -> ast.AST:
    twin = copy.copy(node)
    for name, value in changed.items():
        setattr(twin, name, value)
    return twin


def mutants(name: str) -> Iterator[Mutant]:
    """All mutants of safety/`name`.py; imports, type annotations and docstrings are left as they are."""
    source = (ROOT / "safety" / f"{name}.py").read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    spots = [(owner, at, i) for owner in ast.walk(tree) for at, i in _places(owner)]
    for owner, at, i in spots:
        held = getattr(owner, at)
        node = held if i is None else held[i]
        for variant in variants(node):
            _put(owner, at, i, variant)
            change = f"{_short(node)} -> {_short(variant)}"
            mutated = ast.fix_missing_locations(copy.deepcopy(tree))
            _put(owner, at, i, node)
            yield Mutant(name, node.lineno, lines[node.lineno - 1].strip(), change, mutated)  # type: ignore[attr-defined]


def _places(owner: ast.AST) -> Iterator[tuple[str, int | None]]:
    for at, held in ast.iter_fields(owner):
        if at in ("annotation", "returns") or (isinstance(owner, ast.Subscript) and isinstance(owner.ctx, ast.Store)):
            continue
        if isinstance(held, list):
            yield from ((at, i) for i, x in enumerate(held) if isinstance(x, ast.expr | ast.stmt))
        elif isinstance(held, ast.expr):
            yield at, None


def _put(owner: ast.AST, at: str, i: int | None, node: ast.AST) -> None:
    if i is None:
        setattr(owner, at, node)
    else:
        getattr(owner, at)[i] = node


def _short(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0]


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutated module in place of the one on disk."""

    def __init__(self, mutant: Mutant) -> None:
        self._name, self._tree = f"safety.{mutant.module}", mutant.tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, origin=name) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, f"<{self._name}>", "exec"), module.__dict__)


def run_tests(name: str, mutant: Mutant | None) -> int:
    """0 when every test passes; in a child when there is a mutant. Hypothesis finds counterexamples, but does not shrink them."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutation", phases=phases, database=None, derandomize=True)
    hypothesis.settings.load_profile("mutation")
    if mutant is not None:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of processor time: a busy machine kills no mutant
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        for stale in [m for m in sys.modules if m.partition(".")[0] in ("safety", "benchmarks", "tests")]:
            del sys.modules[stale]
        sys.meta_path.insert(0, Replaced(mutant))
    files = [ROOT / "tests" / "safety" / f"test_{stem}.py" for stem in TESTS[name]]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *(str(f) for f in files if f.is_file())]))


def survivors(made: list[Mutant], jobs: int) -> list[Mutant]:
    """Those of `made` that all tests pass with, `jobs` children at a time; a hanging child counts as noticed."""
    running: dict[int, Mutant] = {}
    left, found, done = list(made), [], 0
    while left or running:
        while left and len(running) < jobs:
            mutant = left.pop(0)
            if not (pid := os.fork()):
                os._exit(run_tests(mutant.module, mutant))
            running[pid] = mutant
        pid, status = os.wait()
        mutant, done = running.pop(pid), done + 1
        if os.WIFSIGNALED(status):
            print(f"  {done}/{len(made)} hung or crashed: safety/{mutant.module}.py:{mutant.line}: {mutant.change}", flush=True)
        if status == 0:
            found.append(mutant)
            print(f"  {done}/{len(made)} survived: safety/{mutant.module}.py:{mutant.line}: {mutant.key}", flush=True)
    return found


def main() -> int:
    """0 when only listed mutants survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(TESTS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    listed = [line.rsplit(" | ", 1)[0] for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith("#")]
    bad = 0
    for name in asked.names:
        made = list(mutants(name))
        if asked.list:
            print(*(f"safety/{name}.py:{m.line}: {m.change}" for m in made), sep="\n")
            continue
        if run_tests(name, None):  # here and not in a child: its imports are there for all the children then
            sys.exit(f"mutation: {name}: its tests fail without any mutant; next: pytest them")
        gc.freeze()  # half of a child's time: what is there already is not looked through again
        alive = Counter(m.key for m in survivors(made, asked.jobs))
        mine = Counter(k for k in listed if k.startswith(f"{name} | "))  # a key that fits two mutants is listed for each
        new, stale, lived = (alive - mine).total(), mine - alive, alive.total()
        print(f"safety/{name}.py: {len(made)} mutants, {len(made) - lived} killed, {lived - new} equivalent, {new} survivors")
        print(*(f"  listed, but killed or gone: {k}\n" for k in stale.elements()), sep="", end="", flush=True)
        bad += new + stale.total()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
