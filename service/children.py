"""
Child processes that never outlive the process that started them.

Owns how a child is bound to its parent's life. Refuses to know what a child does.
The fact to know: a SIGKILL of the parent runs no code of ours, so on Linux the kernel is asked beforehand to
signal the child; elsewhere a child of a killed parent stays until its owner ends it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec a child must not import or lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def bind_to_parent(sent: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """
    A `preexec_fn` after which the child is sent *sent* when the calling process ends, however it ends.

    The kernel watches the thread that forks, so fork from the main thread.
    """
    parent = os.getpid()

    def bind() -> None:
        if _prctl is None:
            return
        _prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
        if os.getppid() != parent:  # it ended between the fork and the call above
            os._exit(1)

    return bind
