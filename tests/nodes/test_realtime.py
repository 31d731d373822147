"""What a process with a control loop asks of the system, in a process of its own: it may be refused, and changes the process."""

import json
import subprocess
import sys

import pytest

ASK = """
import gc, json, os, sys, threading
from robot_stack.nodes.realtime import collect, give_back_the_collector, lock_memory, own_the_collector, publish_aside, stand_by

class Loop:
    pass

def garbage():
    made = Loop()
    made.itself = made

ended = threading.Event()
threading.Thread(target=ended.wait, daemon=True).start()
publish_aside()
said = {"memory": lock_memory(), "sending": os.environ["RMW_FASTRTPS_PUBLICATION_MODE"]}
own_the_collector()
said["enabled"] = gc.isenabled()
garbage()
collect(resting=False)
said["young"] = sum(isinstance(thing, Loop) for thing in gc.get_objects())
stand_by(True)
said["policies"] = sorted({os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")})
stand_by(False)
said["after"] = sorted({os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")})
give_back_the_collector()
said["enabled_again"] = gc.isenabled()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, object]:
    answer = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(answer.stdout)
    return found


def test_locked_memory_or_why_not_is_said_in_one_line(said: dict[str, object]) -> None:
    memory = str(said["memory"])
    assert memory == "memory locked" or (memory.startswith("memory not locked: ") and "ulimit -l unlimited" in memory)
    assert "\n" not in memory


def test_the_collector_runs_only_when_the_loop_says_so_and_frees_what_refers_to_itself(said: dict[str, object]) -> None:
    assert (said["enabled"], said["young"], said["enabled_again"]) == (False, 0, True)


def test_every_thread_beside_a_real_time_loop_is_scheduled_alike_and_as_before_afterwards(said: dict[str, object]) -> None:
    assert said["policies"] in ([0], [1]), "all normal where the system refuses, all SCHED_FIFO where it allows it"
    assert said["after"] == [0]


def test_messages_leave_from_another_thread(said: dict[str, object]) -> None:
    assert said["sending"] == "ASYNCHRONOUS"
