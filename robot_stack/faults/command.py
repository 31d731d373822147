"""`robot-stack fault NAMES`: break a simulated robot on purpose and say what came of it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from robot_stack.config.commands import RunCommand
from robot_stack.config.fault import FaultCommand
from robot_stack.config.plain import meant
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import ConfigError
from robot_stack.faults.campaign import Campaign
from robot_stack.faults.plant import Plant, attached
from robot_stack.faults.table import FaultCase, cases
from robot_stack.supervisor import Graph

EXIT_FAULT = 1
"""Something did not come out as the table says."""


def main(asked: FaultCommand) -> int:
    """Exit code: 0 all came out as the table says, in time; 1 not. Raises ConfigError on an unknown fault or no graph."""
    table = cases(load_robot(asked.robot))
    names = [name for name in asked.faults.split(os.pathsep) if name]
    if not names:
        print("\n".join(listed(case) for case in table.values()))
        return 0
    chosen = [_case(table, name) for name in names]
    with _plant(asked) as plant:
        well = [_inject(plant, case, asked.times) for case in chosen]
    return 0 if all(well) else EXIT_FAULT


def listed(case: FaultCase) -> str:
    """One line of the table: name, how it is done, what must come of it and how soon."""
    return f"{case.name:<26} {case.how}: {case.expected}"


def _inject(plant: Plant, case: FaultCase, times: int) -> bool:
    print(listed(case), flush=True)
    campaign, well = Campaign(plant, case, plant.folder), True
    for outcome in campaign.run(times):
        late = outcome.took_s > case.bound_s
        well &= outcome.as_expected and not late
        print(f"  {outcome}{f' (LATE: allowed {case.bound_s:g} s)' if late else ''}", flush=True)
    for verdict in campaign.verdicts:
        well &= not verdict.out_of_limits and not verdict.missing
        print(f"  log {verdict}", flush=True)
    return well


@contextmanager
def _plant(asked: FaultCommand) -> Iterator[Plant]:
    """The graph that was asked for."""
    if asked.graph:
        with attached(Path(asked.graph)) as plant:
            yield plant
        return
    if not asked.bundle:
        raise ConfigError("bundle: missing; next: robot-stack fault NAME bundle=FOLDER, or graph=FOLDER of a running graph")
    Path(asked.run.log_dir).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=asked.run.log_dir))
    command = RunCommand(bundle=asked.bundle, robot=asked.robot, run=replace(asked.run, respawn=[]))
    with Graph.start(command, folder) as graph, closing(Plant.of(graph)) as plant:
        yield plant


def _case(table: dict[str, FaultCase], name: str) -> FaultCase:
    if name not in table or table[name].own_graph:
        usable = [known for known, case in table.items() if not case.own_graph]
        why = "it needs a graph made for it; next: robot-stack bench faults" if name in table else meant(name, usable)
        raise ConfigError(f"fault: found {name!r}, {why} Allowed: {', '.join(usable)}")
    return table[name]
