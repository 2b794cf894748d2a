"""
How our processes log: one line each, to standard error, as text or as JSON; unless the user's own configuration is
there first.

    2026-11-22 18:00:00,000 INFO    workers.task  [01M8… email:send #1] rendering
    {"at": "2026-11-22T18:00:00.000Z", "level": "info", "logger": "workers.task", "message": "rendering",
     "task_id": "01M8…", "task_name": "email:send", "attempt": 1}

The fact to know: what is given to a record as `extra` is a field of its JSON line. The task of a line by `ctx.log`
stands there, and in the text in front of the message, so that any configuration shows it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from service.task import rfc3339

TEXT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"
OWN_FIELDS = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"))


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}
        message = record.getMessage()
        if {"task_id", "task_name", "attempt"} <= extra.keys():
            message = message.removeprefix(f"[{extra['task_id']} {extra['task_name']} #{extra['attempt']}] ")
        line: dict[str, Any] = {
            "at": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            "pid": record.process,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["error"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return orjson.dumps({**line, **(extra | line)}, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def log_task(
    logger: logging.Logger, level: int, text: str, about: Mapping[str, Any], traceback: str | None = None
) -> None:
    """
    A line on one task. *about* has `task_id`, `task_name` and `attempt`, which stand in front of *text* where it is not
    JSON, and whatever else is a field; *traceback* is one that was written somewhere else.
    """
    text = f"[{about['task_id']} {about['task_name']} #{about['attempt']}] {text}"
    record = logger.makeRecord(logger.name, level, __file__, 0, text, (), None, extra=about)
    record.exc_text = traceback or None
    logger.handle(record)


def configure(level: str, form: str) -> None:
    """Log from *level* on, in the *form* `text` or `json`; does nothing when handlers are configured already."""
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level.upper(), handlers=[lines])
