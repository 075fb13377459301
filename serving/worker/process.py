"What Linux does for a process that shall not outlive the one that started it."

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(
    parent: int,  # Process id of the one that started us
    by: signal.Signals = signal.SIGKILL,
) -> None:
    "Let the kernel end this process when its parent ends, however that comes about."
    if _libc.prctl(_PR_SET_PDEATHSIG, int(by), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), by)
