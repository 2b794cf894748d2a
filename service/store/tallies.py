"""
What is counted for statistics: the fields of `stat:`, made and read.

Pure. A field is a letter, a step, the queue as it is stored and, for what is counted by name, a byte 1, the name (of a
lease: or the URL up to its path) and, where there was one, a byte 1 and the type of the error. The step is a byte: 31
when nothing was measured, else 32 and more, see histogram.py. The letters:

    N  taken in             W  leased, by how long it had been due
    L  slow, see slow.py
    S  F  C  X  ended so    R  D  B  K  to run again, see step.lua; by how long the attempt ran
    V  U     how long W, and all the others, took in microseconds: only what total.lua adds up has these
    q  s  r  how many there were at the most: queued, scheduled, running     g  that somebody looked (alone)

A report carries its field to the script that accepts it, and only what is accepted is counted. For most tasks queue and
name are the bytes of the record from behind its header up to its arguments, so that to make a field is to cut them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from service.endpoint import endpoint_called_by
from service.histogram import step_of
from service.task import DEFAULT_QUEUE, HEADER_BYTES, split_queue

OTHER = "(other)"
NO_STEP = b"\x1f"
FIRST_STEP = 32
MOST_ERROR_BYTES = 64
SHORT_MS = 1024
STEPS = [bytes((FIRST_STEP + step_of(ms),)) for ms in range(SHORT_MS)]


def tally_of(
    letter: bytes, raw: bytes, submission: Mapping[str, Any], run_ms: int | None, error: str = ""
) -> bytes:
    """The field that counts a report on the task of the record *raw*, whose attempt ran for *run_ms*, if it did."""
    start = HEADER_BYTES + raw[12]
    if raw[start] == 1 and (start == HEADER_BYTES or raw.find(0, HEADER_BYTES, start) < 0):
        subject = raw[HEADER_BYTES : raw.index(2, start)]
    else:
        subject = raw[HEADER_BYTES:start].partition(b"\0")[0] + b"\x01" + name_of(submission).encode()
    if error:
        subject += b"\x01" + error.encode(errors="replace")[:MOST_ERROR_BYTES]
    return letter + (STEPS[run_ms] if run_ms is not None and 0 <= run_ms < SHORT_MS else step_byte(run_ms)) + subject


def step_byte(run_ms: int | None) -> bytes:
    return NO_STEP if run_ms is None else bytes((FIRST_STEP + step_of(run_ms),))


def name_of(submission: Mapping[str, Any]) -> str:
    """By what a task is counted: its handler, or the endpoint that it calls."""
    if (name := submission.get("name")) is not None:
        return str(name)
    try:
        return endpoint_called_by(submission["url"].partition("?")[0])
    except (KeyError, ValueError):
        return ""


@dataclass(frozen=True, slots=True)
class Tally:
    """A field of `stat:`, read. *step* is None when nothing was measured, *name* when nothing is counted by it."""

    letter: str
    step: int | None
    namespace: str
    queue: str
    name: str | None
    error: str


@lru_cache(16_384)
def read_tally(field: bytes) -> Tally:
    """What *field* counts."""
    queue, *rest = field[2:].split(b"\x01", 2)
    namespace, shown = split_queue(queue.decode(errors="replace") or DEFAULT_QUEUE)
    name, error = [part.decode(errors="replace") for part in (*rest, b"", b"")[:2]]
    if "://" in name:  # a lease of a task that calls a URL
        name = name_of({"url": name})
    step = field[1] - FIRST_STEP if len(field) > 1 and field[1] >= FIRST_STEP else None
    return Tally(chr(field[0]), step, namespace, shown, name if rest else None, error)
