"""metadata.yaml of a rosbag2 folder with one MCAP file: what `ros2 bag` and other readers open first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from robot_stack.data.rosbags_messages import type_hash


def write_metadata(folder: Path, file: str, span_ns: Sequence[int], topics: Mapping[str, tuple[str, int]]) -> None:
    """Describe `file` in `folder`: messages from `span_ns`[0] to [1]; `topics`: name -> (message type, how many)."""
    start = min(span_ns[0], span_ns[1])
    times = {
        "starting_time": {"nanoseconds_since_epoch": start},
        "duration": {"nanoseconds": span_ns[1] - start},
        "message_count": sum(count for _, count in topics.values()),
    }
    counted = [{"topic_metadata": _topic(name, kind), "message_count": count} for name, (kind, count) in topics.items()]
    about = {
        "rosbag2_bagfile_information": {
            "version": 9,
            "storage_identifier": "mcap",
            "relative_file_paths": [file],
            **times,
            "topics_with_message_count": counted,
            "compression_format": "",
            "compression_mode": "",
            "files": [{"path": file, **times}],
            "custom_data": None,
            "ros_distro": "jazzy",
        }
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(about, sort_keys=False))


def _topic(name: str, kind: str) -> dict[str, Any]:
    try:
        known = type_hash(kind)
    except KeyError:  # a type of somebody else's; readers take it from the file
        known = ""
    return {
        "name": name,
        "type": kind,
        "serialization_format": "cdr",
        "offered_qos_profiles": [],
        "type_description_hash": known,
    }
