"""
A task on its way in, and what became of it: the words between those who submit and submit.lua.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.errors import Problem
from service.flow import Flow
from service.sealing import NO_KEYS, Keyring

# What submit.lua answers of a task, but for what refusals.py reads; the letters are for its unique key.
TAKEN_IN, REPLAYED, MISMATCH = b"012"
DUPLICATE, REFUSED, TO_BE_REPLACED, ASK_AGAIN = b"DXEA"
IN_FLIGHT = ord("F")  # somebody else submits the task of this idempotency key just now


@dataclass(slots=True)
class New:
    """
    A task to take in: its record, for an idempotency key its hash (16 bytes) and fingerprint (8; others may follow, see
    `idempotency_of`), its flow key, and the hash of its unique key. *id* when it must be that one; *ending* the report
    that ends the task whose place it takes.
    """

    record: bytes
    idempotency: bytes = b""
    flow: Flow | None = None
    unique: bytes = b""
    id: bytes = b""
    ending: Sequence[bytes] = ()

    @property
    def known_otherwise(self) -> New | None:
        """The same by its next fingerprint; None when there is none."""
        key = self.idempotency
        return replace(self, idempotency=key[:16] + key[24:]) if len(key) > 24 else None

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


def idempotency_of(namespace: str, key: str, submission: bytes, keyring: Keyring = NO_KEYS) -> bytes:
    """
    Hash of the key within its namespace (16 bytes), and fingerprints of the submission's JSON (8 each): that which is
    stored, then those by which it may have been stored before the keys of encryption were changed.
    """
    hashed = hashlib.blake2b(f"{namespace}\0{key}".encode(), digest_size=16).digest()
    return hashed + b"".join(keyring.digests(submission, 8))
