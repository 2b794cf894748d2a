"""
What `ctx.log` is: a logger of the standard library's kind, which also has its lines kept with the attempt.

Owns the text of a kept line. Never raises for what it is given to say. The fact to know: lines are kept from *info* on
whatever level is logged, because who debugs a failure is seldom who chose the level; *debug* lines only where they are
logged too.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from service.attempts import MOST_LINE_BYTES
from service.received import clip
from workers.capture import traceback_of

if TYPE_CHECKING:
    Adapter = logging.LoggerAdapter[logging.Logger]
else:
    Adapter = logging.LoggerAdapter

ReportLog = Callable[[float, str, str], None]  # when, ms on the monotonic clock; level; message

LOGGER = logging.getLogger("workers.task")


class TaskLog(Adapter):
    """Puts the task in front of each line, so that any logging configuration shows it, and in the record."""

    def __init__(self, about: Mapping[str, object], report: ReportLog | None) -> None:
        """*about* has `task_id`, `task_name` and `attempt`; *report* gets the lines to keep."""
        super().__init__(LOGGER, about)
        self._report = report

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """What `info`, `error`, `exception` and the others lead to."""
        if self._report is not None and (level >= logging.INFO or self.isEnabledFor(level)):
            text = clip(text_of(msg, args, kwargs.get("exc_info")), MOST_LINE_BYTES)
            self._report(time.monotonic() * 1000, level_name(level), text)
        if self.isEnabledFor(level):
            about = self.extra or {}
            kwargs["extra"] = {**about, **(kwargs.get("extra") or {})}
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the line is the handler's, not ours
            prefix = f"[{about['task_id']} {about['task_name']} #{about['attempt']}] "
            if args:  # only then is it formatted
                prefix = prefix.replace("%", "%%")
            self.logger.log(level, prefix + spelled(str, msg), *args, **kwargs)


def text_of(msg: object, args: tuple[object, ...], exc_info: object) -> str:
    """The message as logging formats it, with a traceback below; arguments that do not fit are shown beside it."""
    try:
        text = str(msg)
        if args:
            text %= args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args
    except Exception:
        text = " ".join([spelled(str, msg), *(spelled(repr, arg) for arg in args)])
    exc = exception_of(exc_info)
    return text if exc is None else f"{text}\n{traceback_of(exc).rstrip()}"


def spelled(how: Callable[[object], str], value: object) -> str:
    try:
        return how(value)
    except Exception as exc:
        return f"<{type(value).__name__} that cannot be shown: {type(exc).__name__}>"


def exception_of(exc_info: object) -> BaseException | None:
    """The exception that *exc_info* means, in any of the forms that logging knows."""
    if isinstance(exc_info, BaseException):
        return exc_info
    found = exc_info if isinstance(exc_info, tuple) else sys.exc_info() if exc_info else ()
    return next((one for one in found if isinstance(one, BaseException)), None)


def level_name(level: int) -> str:
    """The standard level at or below *level*."""
    for name, number in (("critical", 50), ("error", 40), ("warning", 30), ("info", 20)):
        if level >= number:
            return name
    return "debug"
