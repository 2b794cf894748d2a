"""
Lines out of a stream of chunks, in bounded memory: a line that is too long is dropped as it comes, and told of.
"""

from __future__ import annotations


class Lines:
    """Cuts chunks into lines. What `feed` and `end` answer: the lines without their ends, None for one too long."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.begun = bytearray()
        self.is_dropping = False

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """The lines that *chunk* completes; blank ones are left out."""
        *whole, rest = chunk.split(b"\n")
        lines = [line for one in whole if (line := self.complete(one)) != b""]
        self.add(rest)
        return lines

    def end(self) -> list[bytes | None]:
        """The last line, when nothing stood behind it."""
        return [line] if (line := self.complete(b"")) != b"" else []

    def add(self, part: bytes) -> None:
        if self.is_dropping:
            return
        self.begun += part
        if len(self.begun) > self.most_bytes + 1:  # one more for the end of CRLF
            self.is_dropping = True
            self.begun.clear()

    def complete(self, part: bytes) -> bytes | None:
        self.add(part)
        if self.is_dropping:
            self.is_dropping = False
            return None
        line = bytes(self.begun).strip(b" \t\r")
        self.begun.clear()
        return line if len(line) <= self.most_bytes else None
