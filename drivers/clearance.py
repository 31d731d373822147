"""True distance between an arm's capsules and a sphere: for scoring and for the scripted human."""

import numpy as np

from robot_stack.kinematics import Kinematics
from robot_stack.types import Array


def sphere_clearance(kinematics: Kinematics, q: Array, p_W: Array, radius: float) -> float:
    """Smallest signed distance (m) between the capsules at `q` (J,) and the sphere of `radius` m at `p_W` (3,); < 0: overlap."""
    ends = kinematics.points(q)[0][:-1].reshape(-1, 2, 3)
    a, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length2 = np.maximum(np.einsum("ki,ki->k", along, along), 1e-12)
    share = np.clip(np.einsum("ki,ki->k", p_W - a, along) / length2, 0.0, 1.0)
    distance = np.linalg.norm(a + share[:, None] * along - p_W, axis=1)
    return float(np.min(distance - kinematics.radius) - radius)
