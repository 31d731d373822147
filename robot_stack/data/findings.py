"""What the quality gate found wrong with an episode: a file beside its log, which is never touched."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from robot_stack.data.whole_file import whole
from robot_stack.errors import DataError

TRASH = ".trash"
"""The folder beside logs where those that were discarded lie until `data gc`."""

FINDINGS = "findings.json"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with an episode: `name` of the check, `where` (camera, joint, topic), its figure, what is allowed, and both
    in a `sentence` with their unit."""

    name: str
    where: str
    figure: float
    allowed: float
    sentence: str


def write_findings(log: Path, findings: Sequence[Finding], accepted: bool = False) -> None:
    """Put `findings` beside the log in the folder `log`. `accepted`: a person has seen them and keeps the episode as good.

    Raises DataError where the disk refuses it; an older file is kept then.
    """
    about = {"findings": [asdict(f) for f in findings], "accepted": accepted, "when": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    file = log / FINDINGS
    try:
        with whole(file) as partial:
            partial.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; the log itself is whole") from error


def read_findings(log: Path) -> list[Finding]:
    """The findings beside the log in the folder `log`, but those a person has accepted; none where there is no such file.

    A file that cannot be read is a finding.
    """
    file = log / FINDINGS
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        return [] if about["accepted"] else [Finding(**finding) for finding in about["findings"]]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Finding("findings", FINDINGS, 1, 0, f"{FINDINGS} cannot be read ({error!r}); `data check` writes it again")]
