"""What the processes of the service have in common: they end with the one that started them.

python process.py PARENT COMMAND...   run a command that is sent SIGTERM when PARENT ends
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(
    parent: int,  # Process id of the one that started us
    by: signal.Signals = signal.SIGKILL,
) -> None:
    "Let the kernel send this process a signal when its parent ends, however that comes about."
    if _libc.prctl(_PR_SET_PDEATHSIG, int(by), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), by)


if __name__ == "__main__":
    die_with(int(sys.argv[1]), signal.SIGTERM)  # holds beyond exec
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  (no shell is wanted)
