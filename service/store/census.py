"""
By which keys the values in Redis are sealed, counted: so that one knows when an old key may go.

Reads every key of tasks and schedules once, a few hundred at a time, and only the bytes that tell; nothing is opened or
changed. For who asks now and then, not for what runs.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson

from service.schedule import HEADER_BYTES as SCHEDULE_BYTES
from service.sealing import NO_KEYS, version_of
from service.store import Store
from service.store.fields import KEYS, Fields
from service.store.vitals import answered
from service.task import HEADER_BYTES, SEALED

AT_ONCE = 500
LAST_BYTE = HEADER_BYTES + 255 + 132  # header, names, the handler's name and the version behind it
CHECKPOINT_BYTES = 10  # when, its number
WHAT = {"t": "tasks", "o": "outcomes", "p": "progress", "c": "checkpoints", "a": "attempts", "l": "logs",
        "s": "schedules", "sb": "backfills"}  # fmt: skip
KIND = re.compile(rb"tp:{\d+}:(%b):" % "|".join(WHAT).encode())
Count = Counter[tuple[int, str]]


def of_record(raw: bytes) -> int:
    """The version by which a record is sealed."""
    if not raw or raw[0] != SEALED:
        return 0
    return int.from_bytes(raw[HEADER_BYTES + raw[12] :].partition(b"\x02")[2][:2], "big")


def of_word(word: str) -> int:
    return int.from_bytes(b64decode(word[:4])[:2], "big")


def of_rows(rows: list[bytes]) -> Iterator[int]:
    """The versions by which rows of attempts and their lines are sealed; 0 for what is not."""
    for row in map(orjson.loads, rows):
        if "sealed" in row or "error" in row or "http" in row:
            yield of_word(row["sealed"]) if "sealed" in row else 0
        yield from map(of_line, row.get("log", ()))


def of_line(line: Any) -> int:
    return of_word(line) if isinstance(line, str) else 0


async def census(store: Store) -> Count:
    """
    How many values there are by (version of the key, what they are); version 0 is plain.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    counts: Count = Counter()
    for letter, key in KEYS.items():
        for _, text in await Fields(store.scripts, letter, NO_KEYS).texts():
            counts[version_of(text), key.rpartition(":")[2]] += 1
    found: list[tuple[str, bytes]] = []
    async for key in store.client.scan_iter(match="tp:{*}:*", count=AT_ONCE):
        if (kind := KIND.match(key)) is not None:
            found.append((kind[1].decode(), key))
        if len(found) >= AT_ONCE:
            await count(store, found, counts)
            found = []
    await count(store, found, counts)
    return counts


async def count(store: Store, found: list[tuple[str, bytes]], counts: Count) -> None:
    """Add the values of the keys *found*, each with its kind."""
    if not found:
        return
    pipeline = store.client.pipeline(transaction=False)
    for kind, key in found:
        READERS[kind][0](pipeline, key)
    for (kind, _), reply in zip(found, await answered(pipeline.execute()), strict=True):
        for version in READERS[kind][1](reply):
            counts[version, WHAT[kind]] += 1


def part(first: int, last: int) -> Callable[[Any, bytes], Any]:
    return lambda pipeline, key: pipeline.getrange(key, first, last)


def listed(pipeline: Any, key: bytes) -> Awaitable[Any]:
    asked: Awaitable[Any] = pipeline.lrange(key, 0, -1)
    return asked


READERS: dict[str, tuple[Callable[[Any, bytes], Any], Callable[[Any], Any]]] = {
    "t": (part(0, LAST_BYTE), lambda raw: [of_record(raw)] if raw else []),
    "o": (part(0, 2), lambda text: [version_of(text)] if text else []),
    "p": (part(0, 2), lambda text: [version_of(text)] if text else []),
    "c": (part(CHECKPOINT_BYTES, CHECKPOINT_BYTES + 2), lambda text: [version_of(text)] if text else []),
    "s": (part(SCHEDULE_BYTES, SCHEDULE_BYTES + 2), lambda text: [version_of(text)] if text else []),
    "a": (listed, of_rows),
    "l": (listed, lambda lines: map(of_line, map(orjson.loads, lines[1:]))),
    "sb": (
        lambda pipeline, key: pipeline.hgetall(key),
        lambda fields: [version_of(text) for field, text in dict(fields).items() if field.startswith(b"#")],
    ),
}
