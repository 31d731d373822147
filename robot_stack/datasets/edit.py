"""An edit, checked before it is written down; and `gc`, which makes edits final."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from robot_stack.config.datasets import DataEditCommand
from robot_stack.data.catalogue import Catalogue, source_of
from robot_stack.data.edits import VERBS, Edit, apply, journal, read_edits, unused_runs, write_edits
from robot_stack.data.findings import TRASH
from robot_stack.data.labels import labels_folder
from robot_stack.data.log_source import LogSource
from robot_stack.data.recording import Entry
from robot_stack.datasets.convert import convert
from robot_stack.errors import ConfigError, DataError


def checked(catalogue: Catalogue, settings: DataEditCommand) -> Edit:
    """The edit `settings` ask for. Raises ConfigError for keys that contradict it, DataError for episodes that do not exist."""
    do, other = settings.do, str(Path(settings.other).resolve()) if settings.other else ""
    needs = {"rename": "name", "retask": "instruction", "merge": "other", "split": "start"}.get(do)
    if do not in VERBS or do == "relabel":
        raise ConfigError(
            f"do: found {do!r}, allowed {', '.join(v for v in VERBS if v != 'relabel')}; see also robot-stack relabel"
        )
    if needs and not getattr(settings, needs):
        raise ConfigError(f"{needs}: missing, {do} needs it")
    if do == "merge":
        _no_circle(catalogue.root.resolve(), Path(other))
    elif not settings.episodes and not settings.all:
        raise ConfigError("episodes: missing; next: name some, episodes=[000003,000007], or all=true")
    chosen = list(catalogue.find(settings.episodes)) if settings.episodes else []
    if do == "split" and (short := [e.name for e in chosen if not settings.start < e.seconds]):
        raise ConfigError(f"start: found {settings.start:g} s, allowed within the episodes; {', '.join(short)} are shorter")
    if do == "rename":
        _new_name(catalogue, chosen, settings.name)
    stop = settings.stop or None
    named = tuple(entry.name for entry in chosen)
    return Edit(do, named, settings.start, stop, settings.name, settings.instruction, settings.stride, other, why=settings.why)


def _new_name(catalogue: Catalogue, chosen: list[Entry], name: str) -> None:
    if len(chosen) != 1:
        raise ConfigError(f"episodes: found {len(chosen)}, allowed one: names are given one at a time")
    if any(entry.name == name for entry in catalogue.entries()):
        raise ConfigError(f"name: {name} is another episode's, allowed a name that is free")


def _no_circle(root: Path, other: Path) -> None:
    """A dataset cannot be merged into itself, nor into one that has it merged already."""
    source_of(other, 1.0)
    if other == root:
        raise DataError(f"merge: {other} is the dataset itself, or has it merged already; allowed another one")
    for edit in read_edits(other):
        if edit.verb == "merge":
            _no_circle(root, Path(edit.other))


def collect(catalogue: Catalogue, yes: bool) -> str:
    """Make the edits final. Logs that no episode needs any more are deleted; a LeRobot or robomimic dataset is written anew, its
    video packets copied, and takes the old one's place. Raises DataError, nothing changed, when an episode cannot be read."""
    edits, runs = read_edits(catalogue.root), unused_runs(catalogue.root)
    if runs:
        return _rubbish(catalogue.root, runs, "labels that no edit names", yes)
    if trash := sorted(catalogue.root.rglob(f"{TRASH}/*")):
        return _rubbish(catalogue.root, trash, f"{len(trash)} discarded recordings", yes)
    if not edits:
        return f"{catalogue.root}: no edits, nothing to do"
    if isinstance(catalogue.source, LogSource):
        return _collect_logs(catalogue, catalogue.source, edits, yes)
    if not yes:
        count = sum(1 for _ in catalogue.entries())
        return f"{catalogue.root}: would be written anew with {count:,} episodes, the old one deleted; next: yes=true"
    return _collect_file(catalogue)


def _rubbish(root: Path, folders: list[Path], what: str, yes: bool) -> str:
    """Delete `folders`, which no edit needs, if that is allowed."""
    what = f"{what}: {', '.join(folder.name for folder in folders)}"
    if not yes:
        return f"{root}: {what}; delete them with yes=true"
    for folder in folders:
        shutil.rmtree(folder)
    return f"{root}: deleted {what}; next: `data gc` once more for what edits left over"


def _collect_logs(catalogue: Catalogue, source: LogSource, edits: list[Edit], yes: bool) -> str:
    needed = {entry.key for entry in catalogue.entries() if entry.root == catalogue.root}
    unneeded = [folder for folder in source.folders() if str(folder) not in needed]
    size = sum(file.stat().st_size for folder in unneeded for file in folder.rglob("*") if file.is_file())
    what = f"{len(unneeded)} recordings ({size / 2**20:.1f} MiB): {', '.join(f.name for f in unneeded)}"
    if not yes:
        return f"{catalogue.root}: no episode needs {what}; delete them with yes=true"
    for folder in unneeded:
        shutil.rmtree(folder)
    write_edits(catalogue.root, _still_needed(catalogue, source, edits))
    return f"{catalogue.root}: deleted {what}"


def _still_needed(catalogue: Catalogue, source: LogSource, edits: list[Edit]) -> list[Edit]:
    """`edits` without those that change nothing any more: a recording of the same name may come one day."""

    def entries(some: list[Edit]) -> Iterator[Entry]:
        return apply(some, source.entries(), lambda path: Catalogue.open(path, catalogue.rate_hz).entries())

    now = list(entries(edits))
    for edit in list(edits):
        rest = [e for e in edits if e is not edit]
        if list(entries(rest)) == now:
            edits = rest
    return edits


def _collect_file(catalogue: Catalogue) -> str:
    root = catalogue.root
    if root.is_dir() and catalogue.source.kind == "robomimic HDF5":
        raise DataError(f"gc {root}: found a folder, allowed the .hdf5 file itself; name it")
    new, old = (root.with_name(f".{root.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    found = convert(catalogue, new, _same(catalogue.source.kind))
    if found.faults:
        _remove(new)
        why = "; ".join(f"{fault.name}: {fault.why}" for fault in found.faults)
        raise DataError(f"gc {root}: nothing was changed, these episodes cannot be read: {why}; delete them, or restore them")
    _keep_licence(root, new)
    root.rename(old)
    new.rename(root)
    _remove(old)
    journal(root).unlink(missing_ok=True)
    shutil.rmtree(labels_folder(root), ignore_errors=True)  # they are columns of the new one
    return str(found).replace(str(new), str(root))


def _same(kind: str) -> str:
    """The format a dataset of `kind` is written anew in."""
    return "robomimic" if "robomimic" in kind else "lerobot-v3" if "v3" in kind else "lerobot-v2.1"


def _keep_licence(root: Path, new: Path) -> None:
    """Files that lie beside the data, a licence or a README, stay."""
    if root.is_dir():
        for file in root.iterdir():
            if file.is_file() and file != journal(root):
                shutil.copy2(file, new / file.name)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
