"""
The log of an attempt: its lines as they are kept, and as they read. Pure.

A line is kept as a JSON array, `[ms since the epoch, level, message]`. Of an attempt that says more than is kept, the
last lines are: what it said before it failed tells most. The fact to know: lines are numbered, from 0, in the order in
which the attempt said them, so that they can be sent again; endings.lua (`keep_log`) holds the same bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from service.task import rfc3339

LEVELS = ("debug", "info", "warning", "error", "critical")
MOST_LINES = 200
MOST_BYTES = 32 * 1024  # of all lines together
MOST_LINE_BYTES = 8 * 1024
NEXT = 0xFFFFFFFF  # the number of a line whose writer does not count: whatever comes next
GAP = " … left out … "


def pack_line(at_ms: int, level: str, message: str) -> bytes:
    """One line as it is kept; the middle of a long message is left out, and what UTF-8 cannot hold is spelled out."""
    message = message.encode("utf-8", "backslashreplace").decode()
    most = MOST_LINE_BYTES - 64
    kept = message
    while len(line := orjson.dumps([at_ms, level, kept])) > MOST_LINE_BYTES:
        kept = message[: most // 4] + GAP + message[max(len(message) - most * 3 // 4, 0) :]
        most //= 2
    return line


def pack_lines(first: int, lines: Sequence[bytes]) -> bytes:
    """A batch of lines as scripts take it; *first* is the number of its first line."""
    return b"%b%b\n" % (first.to_bytes(4, "big"), b"\n".join(lines))


def log_of(said: int, lines: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """The contract's log of an attempt that said so many lines, of which *lines* were kept."""
    shown = [{"at": rfc3339(at_ms), "level": level, "message": message} for at_ms, level, message in lines]
    if shown and said > len(shown):
        left_out = said - len(shown)
        words = "1 earlier line was" if left_out == 1 else f"{left_out:,} earlier lines were"
        shown.insert(0, {"at": shown[0]["at"], "level": "info", "message": f"… {words} left out"})
    return shown
