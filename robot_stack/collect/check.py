"""`robot-stack data check`: the quality gate over logs that are there already."""

from pathlib import Path

from robot_stack.collect.quality import check
from robot_stack.config.datasets import DataCheckCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.findings import write_findings
from robot_stack.data.log_reader import read_log
from robot_stack.data.log_source import LogSource
from robot_stack.errors import ConfigError, DataError
from robot_stack.robot import RobotSpec


def check_logs(settings: DataCheckCommand) -> int:
    """Look through every log at or below `settings.path`, print and write down what is found; how many have findings.

    Raises DataError when there are no episode logs.
    """
    source = Catalogue.open(Path(settings.path)).source
    if not isinstance(source, LogSource):
        raise DataError(
            f"check {settings.path}: found {source.kind}, allowed episode logs; `data info check=true` reads the others"
        )
    count = bad = 0
    for folder in source.folders():
        found = _check(folder, settings)
        bad, count = bad + bool(found), count + 1
        print(f"{folder.name}: {f'{len(found)} findings' if found else 'good'}")
        for sentence in found:
            print(f"  {sentence}")
    print(f"{count} logs, {bad} with findings")
    return bad


def _check(folder: Path, settings: DataCheckCommand) -> list[str]:
    try:
        log = read_log(folder)
        findings = check(log, settings.quality, _robot(settings.robot or log.metadata.robot))
        if folder.is_dir():
            write_findings(folder, findings)
    except DataError as error:
        return [str(error)]
    return [f"{finding.name}: {finding.sentence}" for finding in findings]


def _robot(name: str) -> RobotSpec | None:
    """None: it is not known here; then its limits and rates are not either."""
    try:
        return load_robot(name)
    except ConfigError:
        return None
