"""
What happened, in files that no fault touches: each line is one event, written by one `write`.

Owns the form of lines. Refuses to judge them: `checker.py` does. The fact to know: times are of the machine's
monotonic clock, which all processes share and which no fault moves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(slots=True)
class Event:
    """
    One line. *what* says what happened; *task* is an id, *key* what the client calls the task.

    asked | taken | refused        a client submits; the API answered with an id, and (*more*) that it is safe; it never
                                   answered
    cancelling | cancelled         a client asks to cancel; the API said yes
    replaying | replayed           a client asks for another run of a task that ended; *key* is that of the new one
    began | ended                  a run of a handler, or a call that an endpoint got; *how* it ended
    called                         a callback that was received
    died                           processes *pids* were killed, or stopped for longer than a lease
    fault | healed                 a fault *name* began; it is over
    """

    at: float
    what: str
    key: str = ""
    task: str = ""
    run: str = ""
    how: str = ""
    pids: tuple[int, ...] = ()
    name: str = ""
    more: Any = None


class History:
    """The events of one round; any number of processes write, each into a file of its own."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.file = os.open(self.folder / f"{os.getpid()}.history", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, **fields: Any) -> float:
        """Write one line; it is with the kernel when this returns, whatever becomes of this process. When it was."""
        at: float = fields.pop("at", time.monotonic())
        os.write(self.file, orjson.dumps({"at": at, "what": what, **fields}) + b"\n")
        return at

    def close(self) -> None:
        os.close(self.file)


def events_of(folder: Path) -> list[Event]:
    """Everything that any process noted, in the order of time."""
    return sorted(read(folder), key=lambda event: event.at)


def read(folder: Path) -> Iterator[Event]:
    for path in folder.glob("*.history"):
        for line in path.read_bytes().splitlines():
            told = orjson.loads(line)
            yield Event(**told | {"pids": tuple(told.get("pids", ()))})


def lineage() -> tuple[int, ...]:
    """This process and those above it, up to the worker's parent and what started it."""
    found, pid = [], os.getpid()
    while pid > 1 and len(found) < 6:
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return tuple(found)
