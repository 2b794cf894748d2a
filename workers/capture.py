"""
What is kept of an exception: its type, its message and a traceback without our own frames.

Never raises, whatever the exception does when it is looked at. The text is always valid UTF-8 and bounded.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from service.received import MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS, clip

MAX_FRAMES = 100

DUMPED = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)  # faulthandler's way to write a frame

HERE = Path(__file__).resolve().parent
OWN_FOLDERS = (f"{HERE}{os.sep}", f"{HERE.parent / 'service'}{os.sep}")
NOT_OWN = str(HERE / "demo.py")
EXECUTOR = str(HERE / "pools" / "executor.py")
THREAD = str(HERE / "pools" / "thread.py")


def error_of(exc: BaseException) -> dict[str, Any]:
    """`{type, message, traceback}` of *exc*, causes and contexts included."""
    return {
        "type": type(exc).__name__,
        "message": clip(_message(exc), MAX_MESSAGE_CHARS),
        "traceback": clip(traceback_of(exc), MAX_TRACEBACK_CHARS),
    }


def traceback_of(exc: BaseException) -> str:
    """The traceback as Python prints it, without the frames of the worker."""
    try:
        shown = traceback.TracebackException.from_exception(exc, limit=-MAX_FRAMES, compact=True)
        _trim(shown, set())
        return "".join(shown.format())
    except Exception:  # a source file gone or a hostile __repr__: the message alone must do
        return f"{type(exc).__name__}: {_message(exc)}\n"


def stack_of(thread_id: int) -> str | None:
    """
    Where the thread is just now, as Python prints it, without the frames of the worker and those that lead to them;
    None if it is gone.
    """
    frame = sys._current_frames().get(thread_id)
    if frame is None:
        return None
    frames = traceback.extract_stack(frame, MAX_FRAMES)
    begun = next((n for n, one in enumerate(frames) if one.filename == THREAD), 0)
    kept = [one for one in frames[begun:] if not _is_own(one.filename)]
    return clip("Stack (most recent call last):\n" + "".join(traceback.format_list(kept)), MAX_TRACEBACK_CHARS)


def stack_in(dump: str) -> str | None:
    """
    The stack that faulthandler wrote in an executor, as Python prints it: what lies above the call of the handler,
    without the frames of the worker; None if there is nothing.
    """
    frames = [traceback.FrameSummary(file, int(line), name) for file, line, name in DUMPED.findall(dump)]
    beneath = [n for n, one in enumerate(frames) if (one.filename, one.name) == (EXECUTOR, "attempt")]
    kept = [one for one in reversed(frames[: min(beneath, default=len(frames))]) if not _is_own(one.filename)]
    if not kept:
        return None
    shown = "".join(traceback.StackSummary.from_list(kept).format())
    return clip("Stack (most recent call last):\n" + shown, MAX_TRACEBACK_CHARS)


def _trim(shown: traceback.TracebackException, seen: set[int]) -> None:
    waiting: list[traceback.TracebackException | None] = [shown]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if kept := [frame for frame in one.stack if not _is_own(frame.filename)]:
            one.stack = traceback.StackSummary.from_list(kept)
        waiting += [one.__cause__, one.__context__, *(one.exceptions or ())]


def _is_own(filename: str) -> bool:
    return filename.startswith(OWN_FOLDERS) and filename != NOT_OWN


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException:
        return "<the exception's own text cannot be read>"
