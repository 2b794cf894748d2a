"""
Ids of tasks: 16 bytes, of which time and shard can be told, shown as 26 characters of Crockford base 32. Pure.
"""

from __future__ import annotations

import os

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32: no I, L, O, U
DIGIT_OF = {digit: value for value, digit in enumerate(ALPHABET)}
PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


def new_ids(shard: int, many: int, now_ms: int) -> list[bytes]:
    """
    *many* fresh ids of 16 bytes: 6 of time, 1 of shard, 7 random, 2 counting up from 0.

    Ids of one call differ in their last two bytes only, so that the store can note all of them as one run.
    """
    stem = now_ms.to_bytes(6, "big") + bytes((shard,)) + os.urandom(7)
    return [stem + count.to_bytes(2, "big") for count in range(many)]


def encode_id(id_: bytes) -> str:
    """The 26 characters by which users know a task."""
    number = int.from_bytes(id_, "big")
    return "".join([PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def decode_id(text: str) -> bytes:
    """The 16 bytes of a 26 character id. Raises ValueError for anything that `encode_id` never writes."""
    number = 0
    try:
        for digit in text.upper():
            number = number << 5 | DIGIT_OF[digit]
    except KeyError as exc:
        raise ValueError(f"{text!r} is not a task id: {exc.args[0]!r} is not a digit of Crockford base 32") from None
    if len(text) != 26 or number >> 128:
        raise ValueError(f"{text!r} is not a task id: needs 26 characters, the first 0 to 7")
    return number.to_bytes(16, "big")


def shard_of(id_: bytes) -> int:
    """The shard that holds everything about this task."""
    return id_[6]


def created_ms(id_: bytes) -> int:
    """When the task was submitted, ms since the epoch."""
    return int.from_bytes(id_[:6], "big")
