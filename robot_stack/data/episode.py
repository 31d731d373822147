"""One episode as arrays on an even time grid: what training, relabelling and statistics read, whatever the file format was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_stack.errors import ContractError
from robot_stack.types import Array, Image


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """n samples at `rate_hz`: `q` measured and `action` commanded joints (n, J).

    `images[camera]` uint8 (n, H, W, 3); `columns[name]` (n, ...); `constants`: what is said once of it.
    Raises ContractError where lengths differ.
    """

    name: str
    rate_hz: float
    joint_names: tuple[str, ...]
    q: Array
    action: Array
    images: Mapping[str, Image]
    instruction: str = ""
    columns: Mapping[str, Array] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.q), len(self.joint_names))
        lengths = {"q": len(self.q)} | {name: len(v) for name, v in self.images.items()}
        lengths |= {name: len(v) for name, v in self.columns.items()}
        if self.q.shape != shape or self.action.shape != shape:
            raise ContractError(f"episode {self.name}: found q {self.q.shape}, action {self.action.shape}, allowed both {shape}")
        if len(set(lengths.values())) != 1:
            raise ContractError(f"episode {self.name}: columns differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.q)
