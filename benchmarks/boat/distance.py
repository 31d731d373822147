"""The barrier everybody writes by hand first: B = h, the distance to the nearest rock. It knows of no stream."""

from dataclasses import dataclass

from drivers.boat import Boat
from robot_stack.types import Array


@dataclass(frozen=True, slots=True)
class DistanceBarrier:
    """h and its gradient."""

    boat: Boat

    def values_and_gradients(self, states: Array) -> tuple[Array, Array]:
        """B (n,) m and dB/dx (n, 2)."""
        return self.boat.margin(states), self.boat.margin_gradient(states)
