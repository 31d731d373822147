"""Perturbation suites: named lists of named conditions, each drawn anew from the seed of an episode and so paired by seed.

`robot-stack validate suite=[NAME]` plays them with two bundles, and stops when it is decided (`replay.gate.simulation`).
"""

from drivers.scenario import SCENARIOS
from robot_stack.errors import ConfigError
from robot_stack.replay.protections import Condition
from robot_stack.replay.resim.perturb import Perturbation

NOMINAL = Condition("nominal", "nominal")


def _one(name: str, **strengths: float) -> Condition:
    return Condition(name, "nominal", perturbation=Perturbation(**strengths))


SUITES: dict[str, tuple[Condition, ...]] = {
    "scenarios": tuple(Condition(name, name) for name in SCENARIOS if name != "chase"),
    "starts": (
        _one("starts 1.5 x", areas=1.5, home_jitter=1.5),
        _one("starts 2 x", areas=2.0, home_jitter=2.0),
    ),
    "distractors": (_one("decoy at 7 cm", decoy_distance=0.07), _one("decoy at 5 cm", decoy_distance=0.05)),
    "light": (_one("light 70 %", light_min=0.7), _one("light 40 %", light_min=0.4)),
    "texture": (_one("table tint 5 %", tint=0.05), _one("table tint 15 %", tint=0.15)),
    "cameras": (
        _one("cameras 5 mm", camera_m=0.005, aim_m=0.005),
        _one("cameras 15 mm", camera_m=0.015, aim_m=0.015),
    ),
    "noise": (
        _one("pixels 20 %", pixel_noise=0.2),
        _one("joints 2 mrad", joint_noise=0.002),
        _one("joints 5 mrad", joint_noise=0.005),
    ),
    "latency": (
        Condition("decisions 100 ms late", "nominal", decisions_late_s=0.1),
        _one("3 of 10 decisions 200 ms late", late_share=0.3, late_s=0.2),
        _one("frames 60 ms late", frame_latency_s=0.06),
    ),
    "dynamics": (
        _one("drives 10 %", gain=0.1, damping=0.1, mass=0.1, friction=0.5, delay_s=0.01),
        _one("drives 25 %", gain=0.25, damping=0.25, mass=0.25, friction=2.0, delay_s=0.03),
    ),
}
SUITES["small"] = (NOMINAL, *(conditions[0] for name, conditions in SUITES.items() if name != "scenarios"))
SUITES["all"] = (
    NOMINAL,
    *(one for name, conditions in SUITES.items() if name not in ("scenarios", "small") for one in conditions),
)


def suite(name: str) -> tuple[Condition, ...]:
    """The conditions of the suite, or the scenario, of that `name`. Raises ConfigError with the names there are."""
    if name in SUITES:
        return SUITES[name]
    if name in SCENARIOS:
        return (Condition(name, name),)
    raise ConfigError(f"suite: found {name!r}, allowed a suite ({', '.join(SUITES)}) or a scenario ({', '.join(SCENARIOS)})")
