"""
Events as the client hands them out: read from a stream, and the stream begun again where it broke.

Knows what is said, without a network. The fact to know: the id of each event names a place in the stream, and a stream
that is begun again goes on behind the last one, so nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict
from urllib.parse import quote, urlencode

import msgspec
import orjson

from service.client.calls import JSON, PAUSES, Answer, Calls, Request, Steps, task_path
from service.client.errors import ApiError, ClientError, NoAnswer, Unavailable, read_problem
from service.client.options import Seconds
from service.client.search import filter_of
from service.client.submission import encode, plain
from service.client.types import Progress, Task, View, view
from service.retry import delay_seconds

SILENCE_SECONDS = 45.0  # the API says something every fifteen
MOST_LINE_BYTES = 1 << 20
END = "end"


class EventFilters(TypedDict, total=False):
    """
    Which events; all that is given must hold, None is the same as left out. *state* and *id* may be several; in *name*
    a `*` stands for any text. *rate*: the most events a second, the others are counted.
    """

    state: str | Iterable[str] | None
    queue: str | None
    name: str | None
    tag: str | None
    parent: str | Task | None
    schedule: str | None
    id: str | Task | Iterable[str] | None
    progress: bool | None
    rate: float | None


class EventError(msgspec.Struct, frozen=True):
    """Why a task failed; the beginning of the message."""

    type: str
    message: str


class Event(View, frozen=True, kw_only=True):
    """
    Something that happened; what does not belong to its *kind* is None.

    `task`: a task came into *state*. `progress`: it said how far it is. `log`: it said *message*. About the stream:
    `omitted` *count* events by *states*, because of a rate; `gap`, with a *reason*: some events are not there.
    *cursor* is the place behind it.
    """

    kind: str
    cursor: str
    id: str = ""
    state: str = ""
    at: datetime | None = None
    name: str | None = None
    url: str | None = None
    queue: str | None = None
    priority: int | None = None
    attempt: int | None = None
    tags: list[str] = msgspec.field(default_factory=list)
    parent: str | None = None
    schedule: str | None = None
    progress: Progress | None = None
    error: EventError | None = None
    number: int | None = None
    level: str | None = None
    message: str | None = None
    count: int | None = None
    states: dict[str, int] | None = None
    reason: str | None = None
    detail: str | None = None


class ReadToken(View, frozen=True, kw_only=True):
    """What lets a browser read one task and follow it. *events_url* is a path of the API."""

    token: str
    expires_at: datetime
    events_url: str


def event_query(filters: Mapping[str, Any]) -> dict[str, str]:
    """The filters as the contract has them."""
    given = {name: value for name, value in filters.items() if value is not None}
    shown = {name: str(given.pop(name)).lower() for name in ("progress", "rate") if name in given}
    return shown | {name: filter_of(name, value) for name, value in given.items()}


class Parser:
    """Server-Sent Events out of bytes, as the HTML Standard reads them."""

    def __init__(self) -> None:
        self.rest = b""
        self.fields: dict[str, str] = {}
        self.last_id = ""

    def feed(self, some: bytes) -> Iterator[Event]:
        """The events that are whole with *some* more bytes. Raises ClientError for a stream that is not ours."""
        *lines, self.rest = (self.rest + some).split(b"\n")
        if len(self.rest) > MOST_LINE_BYTES:
            raise ClientError("the stream is none of Taskpost's; is TASKPOST_URL right?")
        for line in lines:
            name, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if name:
                self.fields[name] = value.removeprefix(" ")
            elif line.rstrip(b"\r") == b"":
                yield from self.event()

    def event(self) -> Iterator[Event]:
        fields, self.fields = self.fields, {}
        self.last_id = fields.get("id", self.last_id)
        if "event" in fields and "data" in fields:
            yield event_of(fields["event"], self.last_id, fields["data"])


def event_of(kind: str, cursor: str, text: str) -> Event:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise ClientError("an event of the stream is not JSON; is TASKPOST_URL right?") from exc
    return view(Event, {**told, "kind": kind, "cursor": cursor})


class Following:
    """
    One stream, however often it is begun. Ask for `request`, give what comes to `feed` and what goes wrong to `broke`,
    until `is_over`.
    """

    def __init__(self, calls: Calls, path: str, query: Mapping[str, str], cursor: str | None) -> None:
        self.calls = calls
        self.path = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        self.parser = Parser()
        self.parser.last_id = cursor or ""
        self.failures = 0
        self.has_begun = False
        self.is_over = False

    def request(self) -> Request:
        """What begins the stream, behind the last event."""
        last_id, self.parser = self.parser.last_id, Parser()
        self.parser.last_id = last_id
        headers = {"accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
        return Request("GET", self.path, None, headers)

    def begin(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raises an ApiError for an answer that is no stream."""
        if status == 204:
            self.is_over = True
        elif status != 200:
            asked = f"GET {self.calls.url.rstrip('/')}{self.path}"
            content_type = headers.get("content-type", "")
            raise read_problem(asked, status, content_type, body, headers.get("retry-after"))
        self.has_begun, self.failures = True, 0

    def feed(self, some: bytes) -> Iterator[Event]:
        """The events of *some* more bytes; nothing is left to come once `is_over`."""
        for event in self.parser.feed(some):
            self.is_over = self.is_over or event.cursor == END
            yield event

    def broke(self, exc: ClientError) -> float:
        """
        How many seconds to wait before it is begun again. Raises *exc* when that is of no use: what was refused, and
        what never began in as many attempts as any request gets.
        """
        self.failures += 1
        if isinstance(exc, ApiError) and not isinstance(exc, Unavailable):
            raise exc
        if not self.has_begun and self.failures > self.calls.retries:
            raise exc
        after = exc.retry_after if isinstance(exc, Unavailable) else None
        return max(delay_seconds(PAUSES, self.failures, random.random), after or 0)

    def ended(self) -> NoAnswer:
        """What to tell `broke` of a stream that ended before its end."""
        return NoAnswer(f"GET {self.calls.url.rstrip('/')}{self.path} broke off")


class LiveCalls:
    """The operations about events."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def all(self, filters: Mapping[str, Any], cursor: str | None) -> Following:
        return Following(self.calls, "/v1/events", event_query(filters), cursor)

    def one(self, id_: str, cursor: str | None) -> Following:
        return Following(self.calls, f"{task_path(id_)}/events", {}, cursor)

    def read_token(self, id_: str, ttl_seconds: Seconds | None) -> Steps[ReadToken]:
        """Made again when need be: nothing is stored."""
        asked = {} if ttl_seconds is None else {"ttl_seconds": plain("ttl_seconds", ttl_seconds)}
        request = Request("POST", f"{task_path(id_)}/read-token", encode(asked), JSON)
        answer: Answer = yield from self.calls.ask(request)
        return view(ReadToken, orjson.loads(answer.body))
