"""
What ties a task to others. Pure; it stands in the header of a record, where scripts read it without decoding a body.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ties:
    """
    What ties a task to others: hashes of its flow key and of its unique key (16 bytes each, or none), and its group.

    They stand behind the queue's name and a zero byte: `F` and a hash, `U` and a hash, `G` and the group to the end,
    each only where there is one. So scripts see them without decoding a body, and a task without any has no byte of it.
    """

    flow: bytes = b""
    unique: bytes = b""
    group: str = ""

    def packed(self) -> bytes:
        parts = (b"F" * bool(self.flow), self.flow, b"U" * bool(self.unique), self.unique)
        return b"".join(parts) + (b"G" + self.group.encode() if self.group else b"")

    @classmethod
    def parsed(cls, packed: bytes) -> Ties:
        flow = unique = group = b""
        if packed[:1] == b"F":
            flow, packed = packed[1:17], packed[17:]
        if packed[:1] == b"U":
            unique, packed = packed[1:17], packed[17:]
        if packed[:1] == b"G":
            group = packed[1:]
        return cls(flow, unique, group.decode())


NO_TIES = Ties()
