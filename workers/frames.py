"""
What a worker's parent and its children say to each other: frames of 32 bytes over a pipe each way.

    parent to child   wake     shard: look for work       cancel, lost   id, token: stop this attempt
                      queues   there is a new queue       stop           take no more work, and drain
                      publish  the handlers are forgotten  look           at what is wanted, in shared memory
                      retire   take no more work, and end when all has ended
    child to parent   ready    it takes work              idle           shard, lanes: it waits for work there
"""

from __future__ import annotations

import struct

FRAME = struct.Struct("=BBH16s12s")
WAKE, QUEUES, CANCEL, LOST, STOP, READY, IDLE, PUBLISH, LOOK, RETIRE = range(1, 11)
BAD_HANDLERS = 3  # a child's exit status: its handlers cannot be loaded, and starting it again would not help
LANE_BITS = {"url": 1, "async": 2, "thread": 4, "process": 8, "async alone": 16, "thread alone": 32}


def pack(kind: int, shard: int = 0, lanes: int = 0, id_: bytes = b"", token: bytes = b"") -> bytes:
    return FRAME.pack(kind, shard, lanes, id_, token)


class Frames:
    """Cuts a byte stream into frames: (kind, shard, lanes, id, token)."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, received: bytes) -> list[tuple[int, int, int, bytes, bytes]]:
        self.rest += received
        whole = len(self.rest) // FRAME.size * FRAME.size
        frames, self.rest = self.rest[:whole], self.rest[whole:]
        return list(FRAME.iter_unpack(frames))
