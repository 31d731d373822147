"""One run of a labeller over a dataset: every episode that lacks its labels gets them, the journal a line once they are there."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from robot_stack.data.catalogue import Catalogue
from robot_stack.data.edits import Edit, read_edits, write_edits
from robot_stack.data.labels import AT, Labels, about_of, label_file, labels_folder, rows_at, write_labels
from robot_stack.data.recording import Entry, Recording
from robot_stack.datasets.convert import Fault
from robot_stack.errors import DataError
from robot_stack.parallel import parallel_map
from robot_stack.relabel.labeller import Labeller

T = TypeVar("T")

KEPT = 256
"""So many episodes stay in memory, without their pictures, from the first look at the dataset to the second."""


@dataclass
class Run:
    """What a run did. `name`: of its folder; `kept`: episodes that had these labels already; `told` by the labeller."""

    name: str
    episodes: int = 0
    rows: int = 0
    kept: int = 0
    labels: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    told: str = ""

    def __str__(self) -> str:
        if not self.episodes and not self.faults:
            return f"{self.name.partition('-')[2]}: nothing to do, all {self.kept} episodes have these labels already"
        kept = f", {self.kept} had them already" if self.kept else ""
        done = f"{self.name}: {self.episodes} episodes, {self.rows:,} rows labelled{kept}: {', '.join(self.labels)}"
        faults = [f"left out: {fault.name}: {fault.why}" for fault in self.faults]
        return "\n".join([done, *([self.told] if self.told else []), *faults])


@dataclass(frozen=True, slots=True)
class Job:
    """What a process needs to label episodes of the dataset at `root`, logs sampled at `rate_hz`. `files`: sha256 of what the
    labeller reads beside it ("": not there), filled in when the run begins."""

    root: Path
    rate_hz: float
    labeller: Labeller
    settings: Any
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """The labels of earlier runs that the labeller wants."""
        return tuple(self.labeller.reads(self.settings))


@dataclass(frozen=True, slots=True)
class _Seen:
    """An episode on the first pass."""

    name: str
    sha256: str
    fact: Any


@dataclass(frozen=True, slots=True)
class _Survey:
    """All episodes together, for a labeller that wants it: the sha256 of all their inputs, what was `gathered` and `told`, which
    cannot be read, and how many have their labels already (0: not all)."""

    sha256: str = ""
    gathered: Any = None
    told: str = ""
    faults: list[Fault] = field(default_factory=list)
    kept: int = 0


@dataclass(frozen=True, slots=True)
class _Done:
    """An episode on the last pass: `labels` written for `rows` rows; none when it had them already."""

    rows: int = 0
    labels: tuple[str, ...] = ()


def relabel(job: Job, why: str = "", ray: str = "") -> Run:
    """Run `job.labeller`. Nothing is written when every episode has its labels already.

    Raises DataError when the dataset or its journal cannot be read, ConfigError when the settings make no sense.
    """
    _looked_at.cache_clear()
    _opened.cache_clear()
    catalogue, files = Catalogue.open(job.root, job.rate_hz), job.labeller.files(job.settings)
    job = replace(job, files={name: _sha(path) if path.is_file() else "" for name, path in files.items()})
    survey = _survey(job, catalogue, ray)
    run = Run(_new_name(job), kept=survey.kept, faults=survey.faults, told=survey.told)
    if survey.kept:
        return run
    bad = {fault.name for fault in run.faults}
    entries = (entry for entry in catalogue.entries() if entry.name not in bad)
    for done in _mapped(partial(_labelled, job, run.name, survey.gathered, survey.sha256), entries, ray):
        if isinstance(done, Fault):
            run.faults.append(done)
        elif done.labels:
            run.episodes, run.rows = run.episodes + 1, run.rows + done.rows
            run.labels = sorted({*run.labels, *done.labels})
        else:
            run.kept += 1
    if run.episodes:
        _sign(job, run, why)
    return run


def _mapped(fn: Callable[[Entry], T], entries: Iterable[Entry], ray: str) -> Iterable[T]:
    return parallel_map(fn, list(entries) if ray else entries, ray)  # type: ignore[arg-type]


def _new_name(job: Job) -> str:
    """The next number; also of runs that were undone."""
    folder = labels_folder(job.root)
    taken = [int(path.name[:4]) for path in folder.iterdir() if path.name[:4].isdigit()] if folder.is_dir() else []
    return f"{max(taken, default=0) + 1:04d}-{job.labeller.name}"


def _survey(job: Job, catalogue: Catalogue, ray: str) -> _Survey:
    """Every episode looked at, and what the labeller makes of them all, unless every one has its labels already."""
    labeller = job.labeller
    if labeller.measure is None or labeller.gather is None:
        return _Survey()
    faults: list[Fault] = []
    seen: dict[str, _Seen] = {}
    for one in _mapped(partial(_measured, job), catalogue.entries(), ray):
        if isinstance(one, Fault):
            faults.append(one)
        else:
            seen[one.name] = one
    sha256 = _sha(sorted((name, one.sha256) for name, one in seen.items()))
    known = (_same(job, entry, seen[entry.name].sha256, sha256) for entry in catalogue.entries() if entry.name in seen)
    if not seen or all(known):
        return _Survey(sha256, faults=faults, kept=len(seen))
    gathered = labeller.gather({name: one.fact for name, one in seen.items()}, job.settings, catalogue)
    return _Survey(sha256, gathered, labeller.tell(gathered) if labeller.tell else "", faults)


def _measured(job: Job, entry: Entry) -> _Seen | Fault:
    try:
        found, inputs = _read(job, entry)
        assert job.labeller.measure is not None
        return _Seen(entry.name, _sha(inputs), job.labeller.measure(found, job.settings))
    except DataError as error:
        return Fault(entry.name, str(error))


def _labelled(job: Job, run: str, gathered: Any, together: str, entry: Entry) -> _Done | Fault:
    """Label one episode, unless it is labelled so already. It reads and writes nothing but its own files."""
    try:
        found, inputs = _read(job, entry)
        sha256 = _sha(inputs)
        if _same(job, entry, sha256, together):
            return _Done()
        labels = job.labeller.label(found, job.settings, gathered)
        _check(job, labels, found)
        about = _about(job, sha256, together) | {"inputs": inputs}
        write_labels(labels_folder(job.root) / label_file(run, entry.name), labels, rows_at(found, entry), about)
        return _Done(len(found), tuple(labels))
    except DataError as error:
        return Fault(entry.name, str(error))


@lru_cache(maxsize=1)
def _opened(root: Path, rate_hz: float) -> Catalogue:
    """Kept open between the episodes of one process."""
    return Catalogue.open(root, rate_hz)


@lru_cache(maxsize=KEPT)
def _looked_at(root: Path, rate_hz: float, entry: Entry, reads: tuple[str, ...]) -> tuple[Recording, dict[str, Any]]:
    """The episode and its inputs, kept between the two looks at it: most of the time goes into reading and hashing logs."""
    found = _opened(root, rate_hz).recording(entry, reads)
    return found, _inputs(entry, found, reads)


def _read(job: Job, entry: Entry) -> tuple[Recording, dict[str, Any]]:
    found, inputs = _looked_at(job.root, job.rate_hz, entry, job.reads)
    if missing := [name for name in job.reads if name not in found.columns and name not in found.constants]:
        raise DataError(f"{job.labeller.name} reads {', '.join(missing)}: not there; next: run the labeller that writes it first")
    return found, inputs


def _about(job: Job, sha256: str, together: str) -> dict[str, Any]:
    """What the labels of one episode depend on."""
    settings = json.loads(json.dumps(asdict(job.settings)))
    about = {"labeller": job.labeller.name, "version": job.labeller.version, "settings": settings}
    files = {"files": dict(job.files)} if job.files else {}
    return about | files | {"inputs_sha256": sha256, "dataset_sha256": together}


def _same(job: Job, entry: Entry, sha256: str, together: str) -> bool:
    """The newest labels that this labeller gave `entry` are those it would give it now."""
    ours = [file for file in entry.labels if file.partition("/")[0][5:] == job.labeller.name]
    for file in reversed(ours):
        if (about := about_of(labels_folder(job.root) / file)) is not None:
            return about == _about(job, sha256, together) | {"inputs": about["inputs"]}
    return False


def _inputs(entry: Entry, found: Recording, reads: tuple[str, ...]) -> dict[str, Any]:
    """sha256 of the log (of what was recorded, where there is no log file) and of each label read; and what edits left of it."""
    labels = {name: _sha(found.columns[name] if name in found.columns else found.constants.get(name)) for name in reads}
    folder = Path(entry.key)
    files = sorted(folder.glob("*.mcap")) + sorted(folder.glob("*.db3")) if folder.is_dir() else []
    log = [_sha(file) for file in files] or [_sha([(name, v) for name, v in found.columns.items() if name not in labels])]
    cut = [entry.start_s, str(entry.stop_s), entry.stride]
    return {"log": log, "labels": labels, "cut": cut, "rate_hz": found.rate_hz, "rows": len(found), "task": found.task}


def _sha(value: Any) -> str:
    """sha256 (hex) of a file, of an array, or of anything made of such and of what JSON holds."""
    if isinstance(value, Path):
        with value.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    if isinstance(value, np.ndarray):
        head = repr((str(value.dtype), value.shape)).encode()
        return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()
    return hashlib.sha256(json.dumps(value, default=_sha, sort_keys=True).encode()).hexdigest()


def _check(job: Job, labels: Labels, found: Recording) -> None:
    """Raises DataError unless `labels` fit the episode and hide nothing that was recorded."""
    recorded = (found.columns.keys() | found.constants.keys()) - set(job.reads)
    if hidden := sorted(recorded & labels.keys()):
        raise DataError(f"{job.labeller.name}: {', '.join(hidden)} was recorded, allowed new names: what was recorded stays")
    for name, value in labels.items():
        if name == AT or not _fits(value, len(found)):
            shape = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            allowed = f"numbers ({len(found)},) or ({len(found)}, D), or one bool, int, float or str; no name {AT!r}"
            raise DataError(f"{job.labeller.name}: {name} is {shape}, allowed {allowed}")


def _fits(value: Any, rows: int) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim in (1, 2) and len(value) == rows and value.dtype.kind in "biuf"
    return isinstance(value, bool | int | float | str)


def _sign(job: Job, run: Run, why: str) -> None:
    """The run's card, and then its line in the journal."""
    edit = Edit("relabel", name=run.name, why=why)
    card = _about(job, "", "") | {"who": edit.who, "when": edit.when, "why": why, "reads": job.reads, "labels": run.labels}
    card |= {"episodes": run.episodes, "rows": run.rows, "told": run.told, "faults": [asdict(fault) for fault in run.faults]}
    del card["inputs_sha256"], card["dataset_sha256"]
    (labels_folder(job.root) / run.name / "run.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    write_edits(job.root, [*read_edits(job.root), edit])


def undo(root: Path, name: str) -> str:
    """Take the run `name` out of the journal; its files stay until `data gc`. Raises DataError when there is none of that name,
    or a later one has read its labels."""
    edits = read_edits(root)
    runs = {edit.name: i for i, edit in enumerate(edits) if edit.verb == "relabel"}
    if name not in runs:
        raise DataError(f"undo: found {name!r}, allowed {', '.join(runs) or 'nothing: there is no run'}")
    written = set(_card(root, name).get("labels", ()))
    later = [other for other, i in runs.items() if i > runs[name]]
    if used := [other for other in later if written & set(_card(root, other).get("reads", ()))]:
        raise DataError(f"undo: {', '.join(used)} has read the labels of {name}; take it back first")
    write_edits(root, [edit for i, edit in enumerate(edits) if i != runs[name]])
    return f"{root}: took back {name}"


def _card(root: Path, name: str) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((labels_folder(root) / name / "run.json").read_text(encoding="utf-8"))
        return card
    except (OSError, ValueError):
        return {}
