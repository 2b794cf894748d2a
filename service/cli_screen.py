"""
How answers look on a terminal: tables that fit, times as people say them, JSON for programs.

Owns columns, words and units. Refuses to fetch anything. Standard output carries what was asked for, standard error
everything else. The fact to know: names, results and errors come from outside, so control characters in them are
made visible; a task must not be able to steer the terminal of who looks at it.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

import orjson

from service.terminal import Terminal

SYMBOLS = {
    "scheduled": "○",
    "queued": "●",
    "running": "▶",
    "cancelling": "▷",
    "succeeded": "✓",
    "failed": "✗",
    "cancelled": "–",
    "expired": "–",
    # of workers
    "starting": "○",
    "quiet": "‖",
    "stopping": "▷",
    # of schedules, and of their occurrences
    "active": "●",
    "paused": "‖",
    "ended": "–",
    "fired": "✓",
    "run_by_hand": "✓",
    "backfilled": "✓",
    "skipped": "–",
    "put_off": "○",
    "missed": "✗",
    # of backfills
    "done": "✓",
    "aborted": "–",
    # of endpoints
    "ok": "✓",
    "failing": "✗",
    "open": "‖",
    "half_open": "▷",
    "disabled": "–",
    # of attempts
    "retried": "↻",
    "deferred": "○",
    "crashed": "✗",
    "released": "○",
    "undelivered": "○",
}
# C0 and C1 controls, DEL, and the marks that turn the direction of writing.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LEAST_COLUMN = 8
GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """*shrinks*: gives way, with an ellipsis, when the terminal is too narrow."""

    title: str
    is_right: bool = False
    shrinks: bool = False


class Screen:
    """Where a command writes: answers to *out*, everything else to *err*."""

    def __init__(self, out: TextIO, err: TextIO, env: Mapping[str, str]) -> None:
        plain = {**env, "NO_COLOR": "1"} if env.get("TERM") == "dumb" else env
        self.answers = Terminal(out, plain)
        self.notes = Terminal(err, plain)
        self.has_symbols = (out.encoding or "").lower().replace("-", "").startswith("utf")
        # What goes into a file or a pipe is not cut.
        self.width = shutil.get_terminal_size().columns if out.isatty() else None

    @property
    def is_gone(self) -> bool:
        """Whether nobody reads any more: `taskpost list --all | head`."""
        return self.answers.is_gone

    def line(self, text: str = "") -> None:
        self.answers.line(text)

    def note(self, text: str) -> None:
        """A line beside the answer, on standard error."""
        self.notes.line(clean(text))

    def json(self, document: Any) -> None:
        """One JSON document as one line."""
        self.line(orjson.dumps(document).decode())

    def state(self, state: str) -> str:
        """A state, or the outcome of an attempt, as symbol and word, painted."""
        symbol, word = SYMBOLS.get(state, "?"), clean(state.replace("_", " "))
        return self.answers.painted(state, f"{symbol} {word}" if self.has_symbols else word)

    def mark(self, state: str) -> str:
        """A state as its symbol alone; as its word where the terminal has no symbols."""
        return self.answers.painted(state, SYMBOLS.get(state, "?") if self.has_symbols else clean(state))

    def faint(self, text: str) -> str:
        return self.answers.painted("dim", text)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Aligned columns under their titles. Cells may be painted already."""
        cells = [list(map(str, row)) for row in rows]
        widths = [
            max([shown_width(column.title), *(shown_width(row[index]) for row in cells)])
            for index, column in enumerate(columns)
        ]
        widths = self._fitted(columns, widths)
        titles = [
            self.faint(aligned(column.title, width, column.is_right))
            for column, width in zip(columns, widths, strict=True)
        ]
        self.line(GAP.join(titles).rstrip())
        for row in cells:
            shown = [
                aligned(cut(cell, width), width, column.is_right)
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            self.line(GAP.join(shown).rstrip())

    def _fitted(self, columns: Sequence[Column], widths: list[int]) -> list[int]:
        """*widths*, those that may shrink made smaller until the row fits; the widest gives way first."""
        if self.width is None:
            return widths
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - self.width
        elastic = [index for index, column in enumerate(columns) if column.shrinks]
        while excess > 0 and elastic:
            widest = max(elastic, key=lambda index: widths[index])
            if widths[widest] <= LEAST_COLUMN:
                break
            widths[widest] -= 1
            excess -= 1
        return widths

    def fields(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values under each other; further lines of a value are indented to its column."""
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            first, *others = text.split("\n")
            self.line(f"  {self.faint(f'{name:{width}}')}  {first}")
            for other in others:
                self.line(f"  {'':{width}}  {other}")


# ---------------------------------------------------------------- widths

PAINT = re.compile("\x1b\\[[0-9;]*m")


def clean(text: str) -> str:
    """*text* with its control characters, newline and tab apart, made visible."""
    return UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\xa0" else f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """*text* cleaned, its lines made one."""
    return clean(" ".join(text.split()))


def shown_width(text: str) -> int:
    """Columns that *text* takes: none for paint and marks, two for wide characters."""
    plain = PAINT.sub("", text)
    if plain.isascii():
        return len(plain)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in plain
    )


def aligned(text: str, width: int, is_right: bool = False) -> str:
    space = " " * max(0, width - shown_width(text))
    return space + text if is_right else text + space


def cut(text: str, width: int) -> str:
    """*text* in at most *width* columns, with an ellipsis where it was cut; painted text is left whole."""
    if shown_width(text) <= width or PAINT.search(text):
        return text
    kept = ""
    for one in text:
        if shown_width(kept + one) > width - 1:
            break
        kept += one
    return kept + "…"


# ---------------------------------------------------------------- times


def span(seconds: float) -> str:
    """A duration as people say it, in at most two units: `2 ms`, `1.5 s`, `3 min 5 s`, `2 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 60:
        return f"{int(seconds * 10) / 10:g} s"
    for unit, size, part, part_size in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = int(seconds % size // part_size)
            return f"{int(seconds // size):,} {unit}" + (f" {rest} {part}" if rest else "")
    return ""


def relative(at: datetime | None, now: datetime) -> str:
    """When *at* is, seen from *now*: `12 s ago`, `in 3 min`; empty for None."""
    if at is None:
        return ""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    whole = span(round(abs(seconds))).split(" ")
    coarse = " ".join(whole[:2])
    return f"{coarse} ago" if seconds > 0 else f"in {coarse}"


def clock(at: datetime) -> str:
    """*at* in the zone of this machine."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
