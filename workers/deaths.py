"""
How a process ended, in words: its signal or exit code, and the most memory it had.
"""

from __future__ import annotations

import signal

MIB = 1024 * 1024


def how_it_ended(code: int, memory_bytes: int | None) -> str:
    """*code*: the exit code, or minus the signal; *memory_bytes* None: not known."""
    if code >= 0:
        said = f"ended with exit code {code}"
    else:
        try:
            said = f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            said = f"was ended by signal {-code}"
    return said if memory_bytes is None else f"{said}; it had used up to {memory_bytes / MIB:.0f} MiB of memory"
