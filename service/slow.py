"""
Slow attempts: from when on one is slow, and what is kept and told of it.

Pure. An attempt is judged by how long its handler, or the call of its URL, ran; the rest of its time is told beside
that. The fact to know: a threshold is a time, or a multiple of the p95 that a name's own attempts had, which is unknown
until enough of them were measured; until then none of them is slow.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

from service.ids import encode_id

NEED = "needs seconds, such as 0.5, or a multiple of a name's own p95, such as '3x'; 0: never"
MULTIPLE = re.compile(r"(\d+(?:\.\d+)?)x")
LEAST_MULTIPLE = 1.0
LEAST_MS = 10.0  # of a multiple: less is what any machine's own hiccups take
DAY_SECONDS = 86_400
MOST_A_MINUTE, MOST_OF_NAME = 10, 3  # slow.lua holds the same bounds
KEPT_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Threshold:
    """So many *seconds* (0: never slow), or so many *times* the p95."""

    seconds: float = 0.0
    times: float = 0.0

    @property
    def least_ms(self) -> float:
        """What no slow attempt is shorter than."""
        return LEAST_MS if self.times else self.seconds * 1000 or math.inf

    def ms(self, p95_seconds: float | None) -> float:
        """From when on an attempt is slow whose name has this p95, None when it is not known."""
        if not self.times:
            return self.seconds * 1000 or math.inf
        return math.inf if p95_seconds is None else max(self.times * p95_seconds * 1000, LEAST_MS)


def threshold(given: Any) -> Threshold:
    """What *given* says, a number of seconds or `3x`. Raises ValueError."""
    if isinstance(given, str) and (found := MULTIPLE.fullmatch(given.strip())):
        if float(found[1]) < LEAST_MULTIPLE:
            raise ValueError(f"{NEED}; a multiple is {LEAST_MULTIPLE:g} at least")
        return Threshold(times=float(found[1]))
    try:
        seconds = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds <= DAY_SECONDS:
        raise ValueError(NEED)
    return Threshold(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class SlowAttempt:
    """
    One of them, in ms; None is what is not known. *hold_ms* is from its lease to its beginning, *busy_ms* how long of
    its run it computed, *call* the steps of a URL's call as `called.TIMES` names them.
    """

    id: bytes
    name: str
    queue: str
    attempt: int
    outcome: str
    worker: str
    ended_ms: int
    threshold_ms: float
    run_ms: float
    wait_ms: float | None = None
    hold_ms: float | None = None
    busy_ms: float | None = None
    report_ms: float | None = None
    call: list[float | None] | None = None

    def packed(self) -> bytes:
        """As it is kept: its name, a byte 1, the rest as JSON."""
        rest = [
            self.id.hex(), self.queue, self.attempt, self.outcome, self.worker, self.ended_ms, self.threshold_ms,
            self.run_ms, self.wait_ms, self.hold_ms, self.busy_ms, self.report_ms, self.call,
        ]  # fmt: skip
        return self.name.encode() + b"\x01" + orjson.dumps(rest)

    @classmethod
    def parsed(cls, row: bytes) -> SlowAttempt:
        name, _, rest = row.partition(b"\x01")
        (id_, queue, attempt, outcome, worker, ended_ms, threshold_ms,
         run_ms, wait_ms, hold_ms, busy_ms, report_ms, call, *_) = orjson.loads(rest)  # fmt: skip
        return cls(
            id=bytes.fromhex(id_), name=name.decode(), queue=queue, attempt=attempt, outcome=outcome, worker=worker,
            ended_ms=ended_ms, threshold_ms=threshold_ms, run_ms=run_ms, wait_ms=wait_ms, hold_ms=hold_ms,
            busy_ms=busy_ms, report_ms=report_ms, call=call,
        )  # fmt: skip

    def told(self) -> str:
        """As a line of a log."""
        return (
            f"task {encode_id(self.id)} ({self.name}, queue {self.queue}, attempt {self.attempt}) was slow: it ran "
            f"{span(self.run_ms)}, and its threshold is {span(self.threshold_ms)}. {self.where()}"
        )

    def where(self) -> str:
        """Where the time went, in words."""
        parts = [("waited in its queue", self.wait_ms), ("was held before it began", self.hold_ms),
                 ("computed", self.busy_ms)]  # fmt: skip
        words = [f"{word} {span(ms)}" for word, ms in parts if ms is not None]
        if self.call is not None:
            steps = zip(("look-up", "connecting", "TLS", "first byte", "body"), self.call, strict=False)
            if called := ", ".join(f"{step} {span(ms)}" for step, ms in steps if ms is not None):
                words.append(f"its call: {called}")
        return f"It {'; '.join(words)}." if words else "Where is not known."


def span(ms: float) -> str:
    """`850 ms`, `2.3 s`, `125 s`."""
    return f"{ms:.3g} ms" if ms < 999.5 else f"{ms / 1000:.3g} s" if ms < 99_950 else f"{ms / 1000:,.0f} s"


def slowest(rows: list[SlowAttempt], most: int = MOST_A_MINUTE, of_name: int = MOST_OF_NAME) -> list[SlowAttempt]:
    """The *most* slowest of *rows*, the slowest first, and not more than so many *of_name* one name."""
    found: list[SlowAttempt] = []
    names: dict[str, int] = {}
    for one in sorted(rows, key=lambda row: -row.run_ms):
        if names.get(one.name, 0) < of_name:
            names[one.name] = names.get(one.name, 0) + 1
            found.append(one)
    return found[:most]


