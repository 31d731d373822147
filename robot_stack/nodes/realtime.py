"""What a process with a control loop asks of the system and of Python, so that nothing but its own work makes a tick late.

Memory is locked as it is used (a page of it is never fetched from a disk again); the garbage collector does not run by itself:
the loop runs it in what is left of a tick once a second, on the young objects alone while the arm moves, on all when it rests.
Messages and figures are made of new objects each tick, which reference counts free at once: that is no work for the collector.
"""

import ctypes
import gc
import os
import resource
import sys

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
SWITCH_S = 0.00003
"""How long another thread of the process may keep the interpreter when the loop wants it."""
LOWEST = 1
"""The lowest priority of SCHED_FIFO."""
YOUNG, ALL = 0, 2


def publish_aside() -> None:
    """Messages leave from a thread of the middleware, unless the environment says otherwise: the loop waits for no socket. To be
    called before the first publisher is made."""
    os.environ.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")


def lock_memory() -> str:
    """Lock all memory of this process, now and later; what was got, in a few words. Never raises."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and os.geteuid() != 0:
        return f"memory not locked: the limit is {limit // 1024} KiB; allow it with `ulimit -l unlimited`"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        return f"memory not locked: {os.strerror(ctypes.get_errno())}; it takes CAP_IPC_LOCK or `ulimit -l unlimited`"
    return "memory locked"


def stand_by(wanted: bool) -> None:
    """Beside a loop under SCHED_FIFO all threads there are now run so too, as the last of all: one put aside by a busy neighbour
    while it holds the interpreter, or a lock of the middleware, would make the loop wait. Not `wanted`: all run as usual."""
    policy, priority = (os.SCHED_FIFO, LOWEST) if wanted else (os.SCHED_OTHER, 0)
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
        except (PermissionError, ProcessLookupError):
            continue


def own_the_collector() -> None:
    """What is there now is never looked at again, and the collector runs only when `collect` says so."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.disable()


def collect(resting: bool) -> None:
    """Free what refers to itself: of the young objects, or of all of them."""
    gc.collect(ALL if resting else YOUNG)


def give_back_the_collector() -> None:
    """The loop has ended; the collector runs by itself again."""
    gc.unfreeze()
    gc.enable()
