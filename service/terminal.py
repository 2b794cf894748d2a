"""
What `taskpost up` shows: the lines that say where everything is, what the parts say, and one line a task.

Owns columns and colours. Refuses to fetch anything.
The fact to know: colours appear on a terminal only, and never when NO_COLOR is set (no-color.org).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

from service.ids import encode_id
from service.task import Snapshot

PYTHON_WORDS = {
    "integer": "int",
    "number": "float",
    "string": "str",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}
COLOURS = {
    "scheduled": "36",
    "queued": "36",
    "running": "33",
    "cancelling": "33",
    "succeeded": "32",
    "failed": "31",
    "cancelled": "35",
    "expired": "35",
    "retried": "33",
    "deferred": "36",
    "crashed": "31",
    "released": "36",
    "undelivered": "36",
    "active": "36",
    "paused": "33",
    "ended": "35",
    "fired": "32",
    "run_by_hand": "32",
    "backfilled": "32",
    "skipped": "35",
    "put_off": "36",
    "missed": "31",
    "done": "32",
    "aborted": "35",
    "ok": "32",
    "failing": "31",
    "open": "33",
    "half_open": "36",
    "disabled": "35",
    "warning": "33",
    "error": "31",
    "critical": "31",
    "bold": "1",
    "dim": "2",
}


class Terminal:
    """Writes whole lines to *out*, at once; a terminal that is gone is no reason to end."""

    def __init__(self, out: TextIO, env: Mapping[str, str]) -> None:
        self.out = out
        self.is_gone = False
        self.has_colours = out.isatty() and not env.get("NO_COLOR")

    def line(self, text: str = "") -> None:
        try:
            if not self.is_gone:
                print(text, file=self.out, flush=True)
        except OSError:
            self.is_gone = True

    def rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Two aligned columns; an empty first column goes on with the row above."""
        width = max(len(left) for left, _ in rows)
        for left, right in rows:
            self.line(f"  {self.painted('bold', f'{left:{width}}')}  {right}")

    def part(self, name: str, said: str) -> None:
        """What the part *name* says."""
        self.line(f"{self.painted('dim', f'{name:9} |')} {said}")

    def task(self, event: str, task: Snapshot | None, id_: bytes, now: datetime) -> None:
        """One line a task that moved: time, id, name, where to, attempt, and how long its last run took."""
        columns = [f"{now:%H:%M:%S}.{now.microsecond // 1000:03}", encode_id(id_)]
        state = self.painted(event, f"{event:10}")
        if task is None:
            columns += [" " * 24, state]
        else:
            attempt, run_ms = run_of(task)
            columns += [f"{name_of(task):24}", state, f"attempt {attempt}" if attempt else ""]
            columns += [f"{run_ms:,} ms"] if run_ms is not None and event == task.state else []
        self.line("  ".join(columns).rstrip())

    def more(self, events: Counter[str]) -> None:
        """Tasks that moved faster than anybody reads."""
        counts = ", ".join(f"{count:,} {event}" for event, count in events.most_common())
        self.line(self.painted("dim", f"              … and {events.total():,} more: {counts}"))

    def painted(self, colour: str, text: str) -> str:
        code = COLOURS.get(colour)
        return f"\033[{code}m{text}\033[0m" if self.has_colours and code else text


def name_of(task: Snapshot) -> str:
    """The handler of a task, or the method and URL that it calls."""
    submission = task.record.submission
    if "url" in submission:
        return f"{submission.get('method', 'POST')} {submission['url']}"
    return str(submission.get("name", "(unreadable)"))


def run_of(task: Snapshot) -> tuple[int, int | None]:
    """Number of the last attempt, 0 before the first, and its duration; None unless the task has ended."""
    outcome = task.record.outcome or {}
    attempt = int(outcome.get("attempt", task.run.attempt if task.run else 0))
    started_ms = outcome.get("started_ms")
    if not started_ms or not task.record.has_ended:
        return attempt, None
    return attempt, max(0, task.record.time_ms - int(started_ms))


def signature(handler: Mapping[str, Any]) -> str:
    """A handler as one would declare it, from the schema of its arguments: `demo.add(a: float, b: float)`."""
    schema: Mapping[str, Any] = handler.get("args_schema") or {}
    required = schema.get("required", [])
    words = []
    for name, wanted in schema.get("properties", {}).items():
        kind = wanted.get("type")
        word = f"{name}: {PYTHON_WORDS[kind]}" if isinstance(kind, str) and kind in PYTHON_WORDS else name
        if name not in required:
            word += f" = {wanted['default']!r}" if "default" in wanted else " = …"
        words.append(word)
    return f"{handler['name']}({', '.join(words)})"
