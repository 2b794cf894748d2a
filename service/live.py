"""
What is told of tasks while it happens: which events are wanted, how one looks, and where in the streams it stands.

Pure. The fact to know: a *cursor* names a place in the stream of every shard, and how much of the next entry has been
told; who comes back with it is told the rest, each event once.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.ids import decode_id, encode_id
from service.redaction import shown_url
from service.search import fits
from service.task import ENDED, Snapshot, rfc3339

PROGRESS, LOG = "progress", "log"
MOST_MESSAGE_CHARS = 200
VERSION = b"\x01"
PLACE_BYTES, SKIP_BYTES = 10, 3  # time and number of an entry; shard and how many of its transitions were told


@dataclass(frozen=True, slots=True)
class Watch:
    """Which events somebody wants; None asks for all, and all that is given must hold. In *name* a `*` is any text."""

    namespace: str
    states: frozenset[str] | None = None
    queue: str | None = None
    name: str | None = None
    tag: str | None = None
    parent: str | None = None
    schedule: str | None = None
    ids: frozenset[bytes] | None = None
    has_progress: bool = True
    has_log: bool = False

    @classmethod
    def of(cls, namespace: str, given: Mapping[str, Any]) -> Watch:
        """The watch of query parameters by their names in the contract, which takes them."""
        state, ids = given.get("state"), given.get("id")
        return cls(
            namespace,
            states=frozenset(state.split(",")) if state else None,
            ids=frozenset(map(decode_id, ids.split(","))) if ids else None,
            has_progress=given.get("progress", True),
            queue=given.get("queue"),
            name=given.get("name"),
            tag=given.get("tag"),
            parent=given.get("parent"),
            schedule=given.get("schedule"),
        )

    def may_take(self, what: str) -> bool:
        """Whether an event may be wanted, before its task is read. *what*: the state, or `progress` or `log`."""
        if what == LOG:
            return self.has_log
        if what == PROGRESS:
            return self.has_progress and (self.states is None or "running" in self.states)
        return self.states is None or what in self.states

    def takes(self, facts: Facts) -> bool:
        """Whether it is wanted of this task."""
        return (
            facts.namespace == self.namespace
            and (self.queue is None or facts.queue == self.queue)
            and (self.name is None or fits(self.name, facts.name))
            and (self.tag is None or self.tag in facts.tags)
            and (self.parent is None or facts.parent == self.parent)
            and (self.schedule is None or facts.schedule == self.schedule)
        )


# ---------------------------------------------------------------- events


@dataclass(slots=True)
class Facts:
    """What is told of a task beside its state. *shown* is the part of every event that does not depend on it."""

    namespace: str
    queue: str
    name: str | None
    tags: Sequence[str]
    parent: str | None
    schedule: str | None
    attempt: int
    shown: dict[str, Any]
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    is_final: bool  # it was read after its end


def facts_of(task: Snapshot) -> Facts:
    """The facts of a task as it was read."""
    record, submission, outcome = task.record, task.record.submission, task.record.outcome or {}
    name, parent = submission.get("name"), submission.get("parent")
    schedule = submission.get("schedule", {}).get("name")
    attempt = outcome.get("attempt", task.run.attempt if task.run else 0)
    tags = submission.get("tags", [])
    url = submission.get("url")  # there may be neither, of what cannot be read
    target = {"name": name} if name is not None else {"url": shown_url(url)} if url is not None else {}
    shown = {**target, "queue": record.queue, "priority": record.priority, "attempt": attempt, "tags": tags}
    shown |= {word: one for word, one in (("parent", parent), ("schedule", schedule)) if one is not None}
    progress, error = task.progress or outcome.get("progress"), outcome.get("error")
    return Facts(
        record.namespace, record.queue, name, tags, parent, schedule, attempt, shown, progress, error, record.has_ended
    )


@dataclass(slots=True)
class Event:
    """One event as it is sent; *line* is the attempt of a line of a log and its number."""

    kind: str
    data: bytes  # JSON
    cursor: str = ""
    what: str = ""  # the state, or `progress`
    task: bytes = b""
    at_ms: int = 0
    line: tuple[int, int] | None = None
    sent: bytes | None = field(default=None, repr=False)

    def text(self) -> bytes:
        """As a Server-Sent Event; many clients are sent the same."""
        if self.sent is None:
            id_ = b"id: %b\n" % self.cursor.encode() if self.cursor else b""
            if self.kind == ALIVE:
                self.sent = b": %b\n%b\n" % (ALIVE.encode(), id_)
            else:
                self.sent = b"event: %b\n%bdata: %b\n\n" % (self.kind.encode(), id_, self.data)
        return self.sent

    def message(self) -> str:
        """As a message of a WebSocket."""
        cursor = f'"{self.cursor}"' if self.cursor else "null"
        return f'{{"event":"{self.kind}","cursor":{cursor},"data":{self.data.decode()}}}'


ALIVE = "alive"


def task_event(id_: bytes, what: str, at_ms: int, facts: Facts, cursor: str = "") -> Event:
    """A task came into a state, or (*what* is `progress`) said how far it is."""
    is_progress = what == PROGRESS
    shown = {"id": encode_id(id_), "state": "running" if is_progress else what, "at": rfc3339(at_ms), **facts.shown}
    if is_progress or (facts.is_final and facts.progress is not None and what in ENDED):
        shown["progress"] = facts.progress
    if what == "failed" and facts.error:
        message = str(facts.error.get("message", ""))[:MOST_MESSAGE_CHARS]
        shown["error"] = {"type": str(facts.error.get("type", "")), "message": message}
    return Event(PROGRESS if is_progress else "task", orjson.dumps(shown), cursor, what, id_, at_ms)


def log_event(id_: bytes, attempt: int, number: int, line: Sequence[Any]) -> Event:
    """An attempt logged a line: its time in ms, level and message."""
    at_ms, level, message = line
    shown = {"id": encode_id(id_), "attempt": attempt, "number": number, "at": rfc3339(at_ms)}
    shown |= {"level": level, "message": message}
    return Event(LOG, orjson.dumps(shown), "", LOG, id_, at_ms, (attempt, number))


NOTICES = {
    "trimmed": "some events are no longer kept; look at the tasks again",
    "replaced": "the store is another one, or has lost what it had; look at the tasks again",
    "stopping": "the service stops or starts anew; come again",
    "too-slow": "events came faster than they were read; come again, and ask for less by filters or rate",
    "unreadable": "some events could not be read; look at the tasks again",
    "expired": "the read token has expired; ask for another one",
}


def notice(kind: str, reason: str, cursor: str = "") -> Event:
    """Something about the stream itself: `gap` or `closing`."""
    return Event(kind, orjson.dumps({"reason": reason, "detail": NOTICES[reason]}), cursor)


def omitted_event(states: Mapping[str, int], cursor: str = "") -> Event:
    """How many events were left out, by state."""
    return Event("omitted", orjson.dumps({"count": sum(states.values()), "states": dict(states)}), cursor)


def has_ended(event: Event) -> bool:
    """Whether it tells the end of its task."""
    return event.what in ENDED


# ---------------------------------------------------------------- cursors


class Places:
    """
    Where somebody is in the streams of all shards; *skip*: a shard, and how much of its next entry was told.
    """

    __slots__ = ("packed", "skip")

    def __init__(self, packed: list[bytes], skip: tuple[int, int] | None = None) -> None:
        self.packed, self.skip = packed, skip

    @classmethod
    def of(cls, ids: Mapping[int, bytes]) -> Places:
        """The places behind the entries *ids* of the shards."""
        return cls([pack_place(ids[shard]) for shard in sorted(ids)])

    @classmethod
    def read(cls, cursor: str) -> Places | None:
        """What *cursor* names; None when it is no cursor."""
        try:
            packed = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            return None
        many, rest = divmod(len(packed) - 1, PLACE_BYTES)
        if packed[:1] != VERSION or many < 1 or rest not in (0, SKIP_BYTES):
            return None
        end = 1 + many * PLACE_BYTES
        skip = (packed[end], int.from_bytes(packed[end + 1 :], "big")) if rest else None
        if skip is not None and skip[0] >= many:
            return None
        return cls([packed[at : at + PLACE_BYTES] for at in range(1, end, PLACE_BYTES)], skip)

    def copy(self) -> Places:
        return Places(list(self.packed), self.skip)

    def place(self, shard: int) -> bytes:
        """The id of the entry of *shard* behind which it is."""
        packed = self.packed[shard]
        return b"%d-%d" % (int.from_bytes(packed[:6], "big"), int.from_bytes(packed[6:], "big"))

    def move(self, shard: int, id_: bytes) -> None:
        """All of the entry *id_* was told."""
        self.packed[shard] = pack_place(id_)
        if self.skip is not None and self.skip[0] == shard:
            self.skip = None

    def skipped(self, shard: int) -> int:
        """How many transitions of the next entry of *shard* were told before."""
        return self.skip[1] if self.skip is not None and self.skip[0] == shard else 0

    def cursor(self, skip: tuple[int, int] | None = None) -> str:
        """Their name; with *skip*, that of the place behind so many transitions of a shard's next entry."""
        skip = skip or self.skip
        tail = b"" if skip is None else b"%c%b" % (skip[0], skip[1].to_bytes(2, "big"))
        return urlsafe_b64encode(b"%b%b%b" % (VERSION, b"".join(self.packed), tail)).rstrip(b"=").decode()


def pack_place(id_: bytes) -> bytes:
    at_ms, _, number = id_.partition(b"-")
    return int(at_ms).to_bytes(6, "big") + int(number).to_bytes(4, "big")


def ms_of(id_: bytes) -> int:
    """When the entry *id_* was written."""
    return int(id_.partition(b"-")[0])
