import ctypes
import os
import threading

import numpy as np
import pytest

pytest.importorskip("av", reason="needs av: pip install 'robot_stack[train]'")

from robot_stack.data.video import ENCODERS, encode_video


def remembered():
    """The scheduling of this thread as the C library has it, by which Fast DDS makes its threads."""
    policy, priority = ctypes.c_int(-1), ctypes.c_int(-1)
    ctypes.CDLL(None).pthread_getschedparam(ctypes.c_ulong(threading.get_ident()), ctypes.byref(policy), ctypes.byref(priority))
    return policy.value


@pytest.mark.parametrize("codec", ENCODERS)
def test_no_encoder_leaves_a_thread_above_the_control_loop(tmp_path, codec):
    def pictures():
        for i in range(8):
            yield np.full((64, 64, 3), i * 20, np.uint8)
            if i:
                seen.update(os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task"))

    seen = set()
    before = os.sched_getscheduler(0)
    assert encode_video(pictures(), tmp_path / "film.mp4", 30.0, codec)[0] == 8
    assert os.sched_getscheduler(0) == before == remembered()
    assert not seen & {os.SCHED_FIFO, os.SCHED_RR}
