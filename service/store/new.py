"""
A task on its way in, and what became of it: the words between those who submit and submit.lua.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import Problem
from service.flow import Flow

# What submit.lua answers of a task, but for what refusals.py reads; the letters are for its unique key.
TAKEN_IN, REPLAYED, MISMATCH = b"012"
DUPLICATE, REFUSED, TO_BE_REPLACED, ASK_AGAIN = b"DXEA"
IN_FLIGHT = ord("F")  # somebody else submits the task of this idempotency key just now


@dataclass(slots=True)
class New:
    """
    A task to take in: its record, for an idempotency key its hash (16 bytes) and fingerprint (8), its flow key, and the
    hash of its unique key. *id* when it must be that one; *ending* the report that ends the task whose place it takes.
    """

    record: bytes
    idempotency: bytes = b""
    flow: Flow | None = None
    unique: bytes = b""
    id: bytes = b""
    ending: Sequence[bytes] = ()

    @property
    def home(self) -> bytes:
        """What decides its shard; nothing when it may be any."""
        return self.flow.hash if self.flow else self.unique or self.idempotency


@dataclass(slots=True)
class Taken:
    """
    What became of a `New`: *id* is the task's, or that of the earlier task which stands for it, or in its way. *status*
    is as above; *refusal* why its queue did not take it, and then there is no such task.
    """

    id: bytes
    now_ms: int
    status: int = TAKEN_IN
    refusal: Problem | None = None

    @property
    def is_earlier(self) -> bool:
        return self.status != TAKEN_IN and self.refusal is None

    @property
    def is_mismatch(self) -> bool:
        return self.status == MISMATCH


def idempotency_of(namespace: str, key: str, submission: bytes) -> bytes:
    """Hash of the key within its namespace (16 bytes), and fingerprint of the submission's JSON (8)."""
    hashed = hashlib.blake2b(f"{namespace}\0{key}".encode(), digest_size=16).digest()
    return hashed + hashlib.blake2b(submission, digest_size=8).digest()
