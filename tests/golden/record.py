"""Record the golden log anew: `python tests/golden/record.py`. Do it only when a change of behaviour is meant, and say so.

A scripted human carries the cube in lock-step; at 2 s the scene camera freezes, so the log ends in FALLBACK and STOP. What
a replay of verdicts does not need (commands and joints a second time, most pictures) is left out to keep it small.
"""

import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "frozen"
SEED, LIMIT_S, PICTURE_NS = 5, 6.0, 4_000_000_000
LEFT_OUT = {"/joint_states", "/arm/command", "/fallback/command"}


def main() -> None:
    """Replace the log."""
    from drivers.scenario import SCENARIOS
    from robot_stack.config.robot_file import load_robot
    from robot_stack.config.schema import SafetySettings
    from robot_stack.replay.crew import Setup, recording, teleoperated
    from robot_stack.replay.lockstep import Episode

    shutil.rmtree(FOLDER, ignore_errors=True)
    setup = Setup(load_robot("sim_arm"), safety=SafetySettings(stop_after_s=1.5))
    shown: dict[str, int] = {}
    with recording(FOLDER, setup, "frozen", {"seed": SEED}) as sink:

        def some(topic: str, t_ns: int, value: object) -> None:
            if topic in LEFT_OUT or (topic.endswith("/image") and t_ns - shown.get(topic, -PICTURE_NS) < PICTURE_NS):
                return
            shown[topic] = t_ns
            sink(topic, t_ns, value)

        print(Episode(teleoperated(setup, seed=SEED), SCENARIOS["frozen"], SEED, some).run(LIMIT_S), file=sys.stderr)


if __name__ == "__main__":
    main()
