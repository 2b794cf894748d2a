"""
What ties a task to others, and to a time. Pure; it stands in the header of a record, where scripts read it without
decoding a body.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = {b"F": 16, b"U": 16, b"C": 14, b"E": 6}  # of what follows each letter; that of G goes to the end


@dataclass(frozen=True, slots=True)
class Ties:
    """
    Hashes of its flow key and of its unique key (16 bytes each, or none), its group, how it claims its unique key
    (14 bytes, see unique.py), and when it expires if it still waits then, in ms, or 0.

    They stand behind the queue's name and a zero byte: each a letter and its bytes, in the order F U C E G, only where
    there is one. So scripts see them without decoding a body (`ties_of` in shared.lua), and a task without any has no
    byte of it.
    """

    flow: bytes = b""
    unique: bytes = b""
    group: str = ""
    claim: bytes = b""
    expires_ms: int = 0

    def packed(self) -> bytes:
        expires = self.expires_ms.to_bytes(6, "big") if self.expires_ms else b""
        parts = {b"F": self.flow, b"U": self.unique, b"C": self.claim, b"E": expires, b"G": self.group.encode()}
        return b"".join([letter + tie for letter, tie in parts.items() if tie])

    @classmethod
    def parsed(cls, packed: bytes) -> Ties:
        found, at = {}, 0
        while at < len(packed):
            letter = packed[at : at + 1]
            end = at + 1 + WIDTHS.get(letter, len(packed))
            found[letter], at = packed[at + 1 : end], end
        return cls(
            found.get(b"F", b""), found.get(b"U", b""), found.get(b"G", b"").decode(), found.get(b"C", b""),
            int.from_bytes(found.get(b"E", b""), "big"),
        )  # fmt: skip


NO_TIES = Ties()
